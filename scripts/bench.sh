#!/usr/bin/env bash
# Build the release and run the benchmarks.  See --help.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

usage() {
    cat <<TEXT
Usage: scripts/bench.sh [NAME [OPTION…]]

Runs the benchmark NAME of tests/bench, or all of them.  Each prints JSON
lines, {"bench": …, "case": …, "metric": …, "value": …}, on standard output
and a table for people on standard error.  OPTIONs go to the benchmark.

Benchmarks:
TEXT
    for file in "$top"/tests/bench/bench_*; do
        name=$(basename "$file")
        name=${name#bench_}
        case $name in *.c | *.sh) echo "  ${name%.*}" ;; esac
    done | sort -u
}

case ${1:-} in
--help | -h)
    usage
    exit 0
    ;;
esac

install_packages "${build_packages[@]}" "${test_packages[@]}" >&2
install_node
mkdir -p "$top/build"
build release
export COVIM_BUILD=$top/build/release COVIM_TOP=$top

run_one() {
    local name=$1
    shift
    if [ -f "$top/tests/bench/bench_$name.sh" ]; then
        say "bench $name"
        bash "$top/tests/bench/bench_$name.sh" "$@"
    elif [ -x "$COVIM_BUILD/tests/bench_$name" ]; then
        say "bench $name"
        "$COVIM_BUILD/tests/bench_$name" "$@"
    else
        die "there is no benchmark \"$name\"; --help lists them"
    fi
}

if [ $# -gt 0 ]; then
    run_one "$@"
else
    for name in $(usage | sed -n '/^Benchmarks:/,$ s/^  //p'); do
        # All cells take an hour; they are asked for by name.
        if [ "$name" = natmatrix ]; then
            run_one natmatrix --quick
        elif [ "$name" = roam ]; then
            run_one roam --runs 1 --events 10
        else
            run_one "$name"
        fi
    done
fi
