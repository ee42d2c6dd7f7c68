#!/usr/bin/env bash
# The shared text on recorded editing histories: ours and the published
# engines, in one run.  See --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/bench.sh text [OPTION…]

  TRACE/local  ms         replay as local edits
  TRACE/live   ms         the same, and the bytes for the peers after each
  TRACE/load   ms         decode the saved state and read the text
  TRACE/merge  ms         apply all updates of a concurrent history, one by one
  TRACE        held_kib, state_bytes
                          memory held after it; size of the saved state
  …            times_yjs  npm yjs's ms over ours, in this run
  …            cpu_times_yjs
                          the same of processor time, as ours is
  …            warm_ms, warm_times_yjs
                          the same, in a process that has done it before

Cases of the other libraries have the same names and a "peer".  Every text is
compared with the one of the trace.

  --traces DIR   the traces, NAME.json.gz    (../shared/traces of the checkout)
  --only TRACE[,TRACE…]
  --peers NAME[,NAME…]  or none                                         (all)
                 yjs ywasm diamond-types-node loro-crdt automerge floor
                 floor is no library: the least that an engine like ours must
                 do for TRACE/live (tests/bench/floor.h)
  --runs N       medians of so many are given                             (5)
  --limit S      leave out what takes more processor time, seconds       (10)
  --slow         leave nothing out: half an hour and more
  --sizes        only ours: how operations grow with the document; up to 100 MB,
                 a line of 10 MB, a million items, origins far apart
  --micro        only ours: one keystroke to bytes (micro/local), applied
                 (micro/remote), in a million characters with 260,000 edits;
                 "-jump": each at another place
  --             what follows goes to our program, which alone is run

Every ms is the median of fresh processes, N of theirs, and of ours N and one
more before each of theirs: machines have faster and slower minutes, and both
should see them.  Ours is the processor time of its one thread; theirs what the
clock says, or the processor time of all their threads if that is less.  cpu_ms
is that time: V8 compiles and collects garbage on another processor if one is
free, and yjs is faster by a third then.  warm_ms is for ours the smallest of 11
runs in one process, for theirs the median of N.  Memory of those in WebAssembly
is by how much theirs grew, so it includes what was needed only for a moment.
Theirs need node and npm, which fetches them once.
TEXT
}

all_peers=yjs,ywasm,diamond-types-node,loro-crdt,automerge,floor
here=$COVIM_TOP/tests/bench/text
program=$COVIM_BUILD/tests/bench_text
traces=${COVIM_TRACES:-$COVIM_TOP/../shared/traces}
only='' peers=$all_peers runs=5 limit=10 slow=''

die() {
    echo "bench text: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --traces | --only | --peers | --runs | --limit)
        [ $# -gt 1 ] || die "$1 takes a value"
        declare "${1#--}=$2"
        shift
        ;;
    --slow) slow=1 ;;
    --sizes | --curve) exec "$program" --sizes ;;
    --micro) exec "$program" --micro ;;
    --)
        shift
        exec "$program" "$@"
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done
for number in "$runs" "$limit"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || die "not a number: $number"
done
[ "$peers" != none ] || peers=''
for peer in ${peers//,/ }; do
    [[ ,$all_peers, == *,$peer,* ]] || die "there is no peer \"$peer\""
done
[ -x "$program" ] || die "$program has not been built"
if [ ! -d "$traces" ]; then
    echo "bench text: no traces in $traces (--traces DIR); only the sizes" >&2
    exec "$program" --sizes
fi
traces=$(cd "$traces" && pwd)

names=()
if [ -n "$only" ]; then
    IFS=, read -ra names <<<"$only"
else
    for file in "$traces"/*.json.gz; do
        names+=("$(basename "$file" .json.gz)")
    done
fi
for name in "${names[@]}"; do
    [ -f "$traces/$name.json.gz" ] || die "there is no trace \"$name\""
done

work=$COVIM_BUILD/bench-text
mkdir -p "$work"
figures=$work/figures # PEER CASE METRIC VALUE; the peer "-" is us
: >"$figures"

install_peers() {
    local tool
    for tool in node npm; do
        command -v $tool >/dev/null ||
            die "$tool is not installed; --peers none does without"
    done
    cp "$here"/package*.json "$here/.npmrc" "$here"/*.mjs "$work/"
    cmp -s "$work/package-lock.json" "$work/node_modules/.installed" && return
    echo "bench text: fetching the other libraries" >&2
    (cd "$work" && npm ci --no-audit --no-fund --ignore-scripts) \
        >"$work/npm.log" 2>&1 || {
        tail -n 5 "$work/npm.log" >&2
        die "npm could not fetch them; --peers none does without"
    }
    cp "$work/package-lock.json" "$work/node_modules/.installed"
}

# figure PEER CASE METRIC VALUE
figure() {
    local who=''
    [ "$1" = - ] || who="\"peer\":\"$1\","
    printf '{"bench":"text",%s"case":"%s","metric":"%s","value":%s}\n' \
        "$who" "$2" "$3" "$4"
    echo "$1 $2 $3 $4" >>"$figures"
}

# Lines "CASE METRIC VALUE" to the same with the median of each.
medians() {
    sort -k 1,2 -k 3,3g | awk '
        function done() {
            if (n > 0)
                printf "%s %.10g\n", key,
                    (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2
        }
        key != $1 " " $2 { done(); key = $1 " " $2; n = 0 }
        { v[++n] = $3 }
        END { done() }'
}

# report PEER LINES: the lines of that file, as figures.
report() {
    local case metric value
    medians <"$2" >"$work/medians"
    while read -r case metric value; do
        figure "$1" "$case" "$metric" "$value"
    done <"$work/medians"
}

# ours TRACE RUNS [OPTION…]
ours() {
    local text='"([^"]*)"' number='([^}]*)'
    "$program" --traces "$traces" --only "$1" --runs "$2" "${@:3}" \
        >"$work/ours.json" 2>"$work/ours.log" || {
        cat "$work/ours.log" >&2
        die "ours failed on $1"
    }
    local line=".*\"case\": *$text.*\"metric\": *$text.*\"value\": *$number}"
    sed -E "s/$line/\\1 \\2 \\3/" "$work/ours.json"
}

# measure_ours TRACE [OPTION…]: lines of one warm process and N fresh ones.
measure_ours() {
    local i
    ours "$1" 11 "${@:2}" | sed -n 's/ ms / warm_ms /p'
    for ((i = 0; i < runs; i++)); do
        ours "$1" 1 "${@:2}"
    done
}

# play PEER TRACE JOB RUNS: fails if that was left out.
play() {
    node --expose-gc "$work/player.mjs" "$1" "$traces/$2.json.gz" "$3" \
        "$work" "$((slow ? 0 : limit))" "$4" >"$work/theirs" ||
        die "$1 failed on $2"
    if grep -q ' skipped ' "$work/theirs"; then
        echo "$1 $2/$3: left out, it would take more than $limit s" >&2
        return 1
    fi
    cat "$work/theirs" >>"$work/lines"
}

# As often as asked for, or as fits in the limit; the first of the processes
# goes on when it has warmed up.
play_often() {
    local i spent
    ours "$2" 1 --mode "$3" >>"$work/ours-lines"
    play "$@" "$((slow ? 0 : runs))" || return 0
    for ((i = 1; i < runs; i++)); do
        spent=$(awk -v which="$2/$3" '
            $1 == which && $2 == "ms" { t += $3; n++ }
            END { printf "%d", t + t / n }' "$work/lines")
        [ "$spent" -le $((limit * 1000)) ] || break
        ours "$2" 1 --mode "$3" >>"$work/ours-lines"
        play "$@" 0 || break
    done
}

bench_peer() {
    local job cases='local live'
    : >"$work/lines"
    if [ -n "$concurrent" ]; then
        cases=merge
        play "$1" "$2" updates 0 || return 0
    fi
    if play "$1" "$2" state 0; then
        cases+=' load'
    fi
    for job in $cases; do
        play_often "$1" "$2" "$job"
    done
    report "$1" "$work/lines"
    rm -f "$work/$1.$2".*
}

times_yjs() {
    local case metric times
    awk -v trace="$1" '
        $3 ~ /ms$/ && index($2, trace "/") == 1 { v[$1, $2, $3] = $4; seen[$2] }
        function times(c, ours, theirs, metric) {
            if (v["-", c, ours] > 0 && v["yjs", c, theirs] > 0)
                printf "%s %s %.4g\n", c, metric,
                    v["yjs", c, theirs] / v["-", c, ours]
        }
        END {
            for (c in seen) {
                times(c, "ms", "ms", "times_yjs")
                times(c, "ms", "cpu_ms", "cpu_times_yjs")
                times(c, "warm_ms", "warm_ms", "warm_times_yjs")
            }
        }' "$figures" | sort >"$work/times"
    while read -r case metric times; do
        figure - "$case" "$metric" "$times"
    done <"$work/times"
}

# The figures again, a case a line, beside the bar.
table() {
    awk -v peers="${peers//,/ }" -v bars="$here/bars" '
        function put(c, m) {
            if (!((c, m) in row)) {
                row[c, m] = ++n
                of[n] = c
                what[n] = m
            }
        }
        BEGIN {
            while ((getline line <bars) > 0)
                if (split(line, f, " ") == 3 && f[1] !~ /^#/)
                    bar[f[1], f[2]] = f[3]
            k = split(peers, peer, " ")
            printf "%-27s %-14s %10s %8s", "", "", "ours", "bar"
            for (i = 1; i <= k; i++)
                printf " %10.10s", peer[i]
            print ""
        }
        {
            put($2, $3)
            v[$1, $2, $3] = sprintf($4 < 1000 ? "%.4g" : "%.0f", $4)
        }
        END {
            for (r = 1; r <= n; r++) {
                printf "%-27s %-14s %10s %8s", of[r], what[r],
                    v["-", of[r], what[r]], bar[of[r], what[r]]
                for (i = 1; i <= k; i++)
                    printf " %10s", v[peer[i], of[r], what[r]]
                print ""
            }
        }' "$figures" >&2
    echo "load $(cut -d ' ' -f 1-3 /proc/loadavg) on $(nproc) processors" >&2
}

micro() {
    local text='"([^"]*)"' number='([^}]*)' case value
    "$program" --micro 2>/dev/null |
        sed -E "s/.*\"case\": *$text.*\"value\": *$number}/\1 \2/" \
            >"$work/micro"
    while read -r case value; do
        figure - "$case" us "$value"
    done <"$work/micro"
}

[ -z "$peers" ] || [ "$peers" = floor ] || install_peers
[ -n "$only" ] || micro
for name in "${names[@]}"; do
    concurrent=$(gzip -dc "$traces/$name.json.gz" 2>/dev/null | head -c 40 |
        grep -o '"concurrent"' || :)
    measure_ours "$name" >"$work/ours-lines"
    for peer in ${peers//,/ }; do
        if [ "$peer" != floor ]; then
            bench_peer "$peer" "$name"
        elif [ -z "$concurrent" ]; then
            measure_ours "$name" --floor >"$work/lines"
            report floor "$work/lines"
        fi
    done
    report - "$work/ours-lines"
    times_yjs "$name"
done
table
