# tests/netlab/nat.sh - the kinds of NAT of lab.sh, as nftables rules.
#
# Mapping and filtering in the words of RFC 4787; the same for UDP and TCP.
#
#   kind            mapping                       filtering
#   none            no NAT                        none
#   fullcone        endpoint-independent          endpoint-independent
#   restricted      endpoint-independent          address-dependent
#   portrestricted  endpoint-independent          address- and port-dependent
#   symmetric       address- and port-dependent,  address- and port-dependent
#                   random of 64,512
#   symmetric-seq   the same, one port after the  address- and port-dependent
#                   other
#   udpblocked      as portrestricted; no UDP passes
#   tcp443only      as portrestricted; only TCP to ports 80 and 443 passes
#
# Linux by itself has the third and the fourth, nearly: it keeps the port of a
# flow while nobody else has the same flow, so two hosts that use one port share
# the outer one.  Here a cone keeps book (map `in`): an outer port belongs to
# the inner address that came first, another one gets its port exclusive-or
# 0x2a5, and what comes in goes where the book says, if the filter lets it.
#
# The connection table stays the kernel's, with what follows from it: a stray
# that the gateway itself accepts makes an entry, and a later flow from the
# same port to its sender gets another port.

# shellcheck shell=bash

declare -A lab_nat_of lab_shift

# lab_nat ROUTER ADDRESS LAN KIND STRAYS HAIRPIN UDP-TIMEOUT FIREWALL
lab_nat() {
    lab_nat_of[$1]="$*"
    case $4 in
    none | fullcone | restricted | portrestricted | symmetric | \
        symmetric-seq | udpblocked | tcp443only) ;;
    *)
        echo "lab: no such kind of NAT: $4" >&2
        return 1
        ;;
    esac
    case $5 in drop | accept | reject) ;; *)
        echo "lab: strays are dropped, accepted or rejected, not: $5" >&2
        return 1
        ;;
    esac
    lab_shift[$1]=${lab_shift[$1]-0}
    lab_rules "$@" | lab_in "$1" nft -f -
    [ "$7" = default ] || lab_in "$1" sysctl -q -w \
        "net.netfilter.nf_conntrack_udp_timeout=$7" \
        "net.netfilter.nf_conntrack_udp_timeout_stream=$7"
}

# lab_rebind ROUTER: the NAT forgets its mappings, and gives other ports.
lab_rebind() {
    lab_shift[$1]=$((1 + RANDOM % 1000))
    # shellcheck disable=SC2086
    lab_nat ${lab_nat_of[$1]}
    lab_forgot=$EPOCHREALTIME # CLOCK_REALTIME, of whoever measures
    lab_in "$1" conntrack -F 2>/dev/null
}

lab_rules() {
    local address=$2 lan=$3 kind=$4 strays=$5 hairpin=$6
    local timeout=${7/default/120} firewall=$8 shift=${lab_shift[$1]} cone=''
    case $kind in
    fullcone | restricted | portrestricted | udpblocked | tcp443only)
        cone=yes
        ;;
    esac
    echo "table ip lab"
    echo "delete table ip lab"
    echo "table ip lab {"
    if [ -n "$cone" ]; then
        lab_book udp "$timeout"
        lab_book tcp 600
    fi
    lab_rules_out
    lab_rules_in
    lab_rules_pass
    echo "}"
    lab_rules_ipv6
}

# lab_book PROTOCOL SECONDS: who has which outer port.
lab_book() {
    local p=$1 own=$((shift)) other=$((shift ^ 0x2a5)) book
    book="flags dynamic,timeout; timeout ${2}s; size 65535"
    cat <<NFT
    map in_$p { type inet_service : ipv4_addr . inet_service; $book; }
    set taken_$p { type inet_service; $book; }
    set own_$p { type ipv4_addr . inet_service; $book; }
    set other_$p { type ipv4_addr . inet_service; $book; }
    set sent_$p { type ipv4_addr . inet_service; $book; }
    set sent3_$p { type ipv4_addr . inet_service . inet_service; $book; }
    set strayed_$p { type ipv4_addr . inet_service . inet_service; $book; }
    chain own_port_$p {
        update @own_$p { ip saddr . $p sport }
        update @taken_$p { $p sport ^ $own }
        update @in_$p { $p sport ^ $own : ip saddr . $p sport }
        update @sent_$p { ip daddr . $p sport ^ $own }
        update @sent3_$p { ip daddr . $p dport . $p sport ^ $own }
    }
    chain other_port_$p {
        meta mark set 1
        update @other_$p { ip saddr . $p sport }
        update @in_$p { $p sport ^ $other : ip saddr . $p sport }
        update @sent_$p { ip daddr . $p sport ^ $other }
        update @sent3_$p { ip daddr . $p dport . $p sport ^ $other }
    }
    chain book_$p {
        type filter hook prerouting priority mangle
        iifname != "lan0" return
        ip daddr $lan.0/24 return
        ip ttl < 2 return
        meta l4proto != $p return
        ip saddr . $p sport @own_$p goto own_port_$p
        ip saddr . $p sport @other_$p goto other_port_$p
        $p sport ^ $own @taken_$p goto other_port_$p
        goto own_port_$p
    }
NFT
}

# Ports in a row.  (A number from numgen is no port: its bytes are swapped.)
lab_next_ports() {
    local first=$((2048 + RANDOM))
    seq 0 16383 | awk -v first=$first '{ print $1 " : " first + $1 "," }'
}

# What leaves.
lab_rules_out() {
    local p
    [ "$kind" != none ] || return 0
    echo "chain out {"
    echo "type nat hook postrouting priority srcnat"
    [ "$hairpin" != yes ] ||
        for p in udp tcp; do
            echo "ip saddr $lan.0/24 oifname lan0 meta l4proto $p mark 1" \
                "snat to $address:$p sport ^ $((shift ^ 0x2a5))"
            echo "ip saddr $lan.0/24 oifname lan0 meta l4proto $p" \
                "snat to $address:$p sport ^ $shift"
        done
    echo "oifname != wan0 return"
    for p in udp tcp; do
        case $kind in
        symmetric)
            echo "meta l4proto $p masquerade fully-random"
            ;;
        symmetric-seq)
            echo "meta l4proto $p masquerade to :numgen inc mod 16384 map {"
            lab_next_ports
            echo "}"
            ;;
        *)
            lab_rules_cone "$p"
            ;;
        esac
    done
    echo "masquerade"
    echo "}"
}

# The kernel keeps the port where it can; where it is told another, a port that
# a stray has spoilt is looked up here.
lab_rules_cone() {
    local p=$1
    echo "meta l4proto $p mark 1 masquerade to :$p sport ^ $((shift ^ 0x2a5))"
    [ "$shift" != 0 ] || return 0
    echo "ip daddr . $p dport . $p sport ^ $shift @strayed_$p" \
        "masquerade fully-random"
    echo "meta l4proto $p masquerade to :$p sport ^ $shift"
}

# What comes.
lab_rules_in() {
    local p
    [ "$kind" != none ] || return 0
    [ -n "$cone" ] || return 0
    echo "chain in {"
    echo "type nat hook prerouting priority dstnat"
    for p in udp tcp; do
        case $kind in
        fullcone)
            echo "iifname wan0 meta l4proto $p" \
                "dnat ip to $p dport map @in_$p"
            ;;
        restricted)
            echo "iifname wan0 ip saddr . $p dport @sent_$p" \
                "dnat ip to $p dport map @in_$p"
            ;;
        esac
        [ "$hairpin" != yes ] ||
            echo "iifname lan0 ip daddr $address" \
                "dnat ip to $p dport map @in_$p"
    done
    echo "}"
}

lab_rules_pass() {
    local p
    echo "chain through {"
    echo "type filter hook forward priority filter"
    case $kind in
    udpblocked)
        echo "meta l4proto udp drop"
        ;;
    tcp443only)
        echo "iifname lan0 tcp dport { 80, 443 } accept"
        echo "iifname lan0 drop"
        ;;
    esac
    [ "$kind" = none ] ||
        echo 'iifname wan0 ct state new ct status & dnat == 0 drop'
    echo "}"
    [ "$kind" != none ] || return 0
    echo "chain here {"
    echo "type filter hook input priority filter"
    echo "iifname lan0 ip daddr $address drop"
    case $strays in
    drop | reject)
        echo "iifname wan0 ct state new $strays"
        ;;
    accept)
        [ -z "$cone" ] ||
            for p in udp tcp; do
                echo "iifname wan0 ct state new update @strayed_$p" \
                    "{ ip saddr . $p sport . $p dport timeout 30s }"
            done
        ;;
    esac
    echo "}"
}

lab_rules_ipv6() {
    echo "table ip6 lab"
    echo "delete table ip6 lab"
    echo "table ip6 lab {"
    echo "chain through {"
    echo "type filter hook forward priority filter"
    case $kind in
    udpblocked)
        echo "meta l4proto udp drop"
        ;;
    tcp443only)
        echo "iifname lan0 tcp dport { 80, 443 } accept"
        echo "iifname lan0 drop"
        ;;
    esac
    # A gateway's own stack has no say here: what it would accept is dropped.
    [ "$firewall" = no ] ||
        echo "iifname wan0 ct state new meta l4proto { tcp, udp }" \
            "${strays/accept/drop}"
    echo "}"
    echo "}"
}
