#!/usr/bin/env bash
# How long a person waits, and what an idle agent costs: real Vims, real agents
# and a real DHT on one host of a network of its own.  See --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/bench.sh editor [OPTION…] [CASE…]

  share   key_ms       from Enter after ":CoVim share" to the key on the screen
  join    text_ms      from Enter after ":CoVim join KEY" to the text (1 MB) on
                       the screen; a local DHT, admission automatic
  keys    median_ms, p99_ms, max_ms
                       from feedkeys() in one Vim, in insert mode, to the line
                       in the other
  idle    rss_mib, cpu_percent
                       the agent of a shared file with a peer connected and 8
                       DHT nodes about (the larger figure of the two agents)

  --runs N      of share and join; medians are given           (5)
  --keys N      how many keys                                  (200)
  --rate R      keys a second                                  (20)
  --seconds N   how long to be idle                            (60)
  --full        1,000 keys at 10 a second, as the goals are meant

A fresh Vim with a fresh identity for each run of share and join.  Needs root
for a network namespace, vim, tmux, dhtnode.
TEXT
}

runs=5 keys=200 rate=20 seconds=60 cases=()
number() {
    [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || {
        echo "$1 takes a number, not \"${2:-}\"" >&2
        exit 2
    }
}
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --runs | --keys | --rate | --seconds)
        number "$1" "${2:-}"
        declare "${1#--}=$2"
        shift
        ;;
    --full) keys=1000 rate=10 ;;
    share | join | keys | idle) cases+=("$1") ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done
[ ${#cases[@]} -gt 0 ] || cases=(share join keys idle)

# shellcheck source=tests/netlab/lab.sh
. "$COVIM_TOP/tests/netlab/lab.sh"
# shellcheck source=tests/e2e/vims.sh
. "$COVIM_TOP/tests/e2e/vims.sh"

# The table is shown at the end, when everything else has been said.
table=$work/table
: >"$table"

# figure CASE METRIC VALUE GOAL [REMARK]
figure() {
    printf '{"bench": "editor", "case": "%s", "metric": "%s", "value": %s}\n' \
        "$1" "$2" "$3"
    printf '%-6s %-12s %10s   goal %-8s %s\n' "$1" "$2" "$3" "$4" "${5:-}" \
        >>"$table"
}

die() {
    echo "bench editor: $*" >&2
    for name in "${!vim_space[@]}"; do
        vim_screen "$name" >&2 || :
    done
    exit 1
}

# median, then all of them, of the numbers given.
median() {
    printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 }
        END { print v[int((NR + 1) / 2)] }'
}

now_us() {
    echo $((${EPOCHREALTIME/[.,]/}))
}

# on_screen NAME SECONDS PATTERN: until it is on the screen.
on_screen() {
    local end=$((SECONDS + $2))
    until vim_screen "$1" | tr -d '\n' | grep -q "$3"; do
        [ $SECONDS -lt $end ] || return 1
    done
}

# ms SINCE: milliseconds with one digit since that now_us.
ms() {
    awk -v us=$(($(now_us) - $1)) 'BEGIN { printf "%.1f", us / 1000 }'
}

published() {
    vim_wait "$1" 30 \
        "b:covim.stage =~# 'waiting for others' || b:covim.state ==# 'direct'"
}

bench_share() {
    local i start took=()
    for ((i = 1; i <= runs; i++)); do
        vim_start "s$i" pub "$work/text.c"
        vim_keys "s$i" ':CoVim share'
        on_screen "s$i" 5 ':CoVim share' || die "Vim does not listen"
        start=$(now_us)
        vim_keys "s$i" Enter
        on_screen "s$i" 20 'covim1[a-z0-9]\{59\}' || die "no key"
        took+=("$(ms "$start")")
        vim_end "s$i"
    done
    figure share key_ms "$(median "${took[@]}")" '< 1000' "runs: ${took[*]}"
}

bench_join() {
    local i start key took=()
    vim_start host pub "$work/large.c"
    vim_keys host ':CoVim share --open' Enter
    lab_wait 10 vim_key host || die "no key"
    key=$(vim_key host)
    published host || die "the session was not published"
    for ((i = 1; i <= runs; i++)); do
        vim_start "j$i" pub
        vim_keys "j$i" ":CoVim join $key"
        on_screen "j$i" 5 "$key" || die "Vim does not listen"
        start=$(now_us)
        vim_keys "j$i" Enter
        on_screen "j$i" 30 'the top of the text' || die "no text"
        took+=("$(ms "$start")")
        [ "$(vim_eval "j$i" "line('\$')")" = "$(wc -l <"$work/large.c")" ] ||
            die "the text is not whole"
        vim_end "j$i"
    done
    vim_end host
    figure join text_ms "$(median "${took[@]}")" '< 1500' "runs: ${took[*]}"
}

# pair: Vims `a` and `b` in one session.
pair() {
    vim_start a pub "$work/text.c"
    vim_keys a ':CoVim share --open' Enter
    lab_wait 10 vim_key a || die "no key"
    published a || die "the session was not published"
    vim_start b pub
    vim_keys b ":CoVim join $(vim_key a)" Enter
    vim_wait b 30 "bufname() =~# '^covim://'" >&2 || die "no text"
    vim_wait a 30 "b:covim.state ==# 'direct'" >&2 || die "not in step"
}

# What is typed: lines of 50 characters below the text.  Both Vims note the
# time with reltime(): on Debian 12 that is the time of day, which both share;
# a clock that is set meanwhile would show, see clock_offset.
keys_script() {
    cat >"$work/keys.vim" <<'VIM'
let g:times = []
let g:base = line('$')

function! KeysNow() abort
    let l:t = reltime()
    return l:t[0] % 1000000 * 1000000 + l:t[1]
endfunction

function! KeysType(timer) abort
    if len(g:times) == g:keys
        return
    endif
    call add(g:times, KeysNow())
    call feedkeys(len(g:times) % 50 ? 'x' : "\<CR>", 't')
endfunction

" How many of the keys the buffer holds.
function! KeysSeen() abort
    return 50 * (line('$') - g:base) + len(getline('$'))
endfunction

" Called as soon as the buffer has been changed.
function! KeysChanged(buf, start, end, added, changes) abort
    let l:now = KeysNow()
    while len(g:times) < KeysSeen()
        call add(g:times, l:now)
    endwhile
endfunction
VIM
}

clock_offset() {
    awk -v now="$EPOCHREALTIME" '{ printf "%d", (now - $1) * 1000 }' \
        /proc/uptime
}

bench_keys() {
    local before after wait=$((keys / rate + 20)) remark
    pair
    keys_script
    vim_eval a "execute('source $work/keys.vim')" >/dev/null
    vim_keys a G o
    vim_wait b 10 "line('\$') == $(($(wc -l <"$work/text.c") + 1))" >&2
    vim_eval a "execute('source $work/keys.vim')" >/dev/null
    vim_eval b "execute('source $work/keys.vim')" >/dev/null
    vim_eval b "listener_add('KeysChanged')" >/dev/null
    vim_eval a "execute('let g:keys = $keys')" >/dev/null
    before=$(clock_offset)
    vim_eval a "timer_start($((1000 / rate)), 'KeysType', {'repeat': -1})" \
        >/dev/null
    vim_wait b "$wait" "len(g:times) >= $keys" >&2 || die "keys were lost"
    after=$(clock_offset)
    [ $((after - before)) -lt 20 ] && [ $((before - after)) -lt 20 ] ||
        die "the clock was set while the keys were timed; run it again"
    vim_eval a "writefile(map(copy(g:times), 'string(v:val)'), '$work/sent')" \
        >/dev/null
    vim_eval b "writefile(map(copy(g:times), 'string(v:val)'), '$work/seen')" \
        >/dev/null
    paste "$work/sent" "$work/seen" | awk '{ printf "%.2f\n", ($2 - $1) / 1000 }' |
        sort -n >"$work/latency"
    remark="$keys keys at $rate a second"
    figure keys median_ms "$(sed -n "$(((keys + 1) / 2))p" "$work/latency")" \
        '< 10' "$remark"
    figure keys p99_ms "$(sed -n "$(((keys * 99 + 99) / 100))p" "$work/latency")" \
        '< 40'
    figure keys max_ms "$(tail -n 1 "$work/latency")" '-'
    vim_end b
    vim_end a
}

# Nanoseconds that the threads of a process have run.
run_ns() {
    cat /proc/"$1"/task/*/schedstat | awk '{ n += $1 } END { printf "%d", n }'
}

bench_idle() {
    local i name pid start
    local rss=() cpu=()
    declare -A began
    for i in 1 2 3 4 5 6 7; do
        lab_spawn pub "$work/dht$i.log" dhtnode -s -p $((4222 + i)) \
            -b 20.0.0.1:4222
    done
    pair
    sleep 2
    for name in a b; do
        began[$name]=$(run_ns "$(vim_eval $name 'covim#vim#pid()')")
    done
    start=$(now_us)
    sleep "$seconds"
    for name in a b; do
        pid=$(vim_eval $name 'covim#vim#pid()')
        cpu+=("$(awk -v ns=$(($(run_ns "$pid") - began[$name])) \
            -v us=$(($(now_us) - start)) \
            'BEGIN { printf "%.3f", ns / us / 10 }')")
        rss+=("$(awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' \
            "/proc/$pid/status")")
    done
    figure idle rss_mib "$(printf '%s\n' "${rss[@]}" | sort -n | tail -n 1)" \
        '< 25' "sharer ${rss[0]}, joiner ${rss[1]}"
    figure idle cpu_percent \
        "$(printf '%s\n' "${cpu[@]}" | sort -n | tail -n 1)" \
        '< 0.5' "sharer ${cpu[0]}, joiner ${cpu[1]}, in $seconds s"
    vim_end b
    vim_end a
}

vims_need
lab_begin
trap vims_end EXIT
lab_public pub 20.0.0.1
lab_spawn pub "$work/dht.log" dhtnode -s -p 4222
lab_spawn pub "$work/stun.log" "$covim" stun --listen 20.0.0.1:3478
head -n 1000 "$COVIM_TOP/transport/net.c" >"$work/text.c"
make_source "$work/source.c"
{
    # Below the messages that pop up at the top.
    printf '\n%.0s' {1..20}
    echo '/* the top of the text */'
    while cat "$work/source.c"; do :; done | head -c 1048500 || :
    echo
} >"$work/large.c"

for name in "${cases[@]}"; do
    "bench_$name"
done
{
    cat "$table"
    echo "load $(cut -d ' ' -f 1-3 /proc/loadavg) on $(nproc) processors"
} >&2
