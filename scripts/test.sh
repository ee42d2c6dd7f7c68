#!/usr/bin/env bash
# Install what is needed, build, run all tests.  See --help.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

usage() {
    cat <<TEXT
Usage: scripts/test.sh [--quick] [--no-skip] [--no-install] [PATTERN]

Installs the Debian packages that are missing (with sudo where needed, and
says which), builds, and runs the tests:

  1. with libFuzzer, every decoder for some seconds   (build/fuzz)
  2. with AddressSanitizer and UBSan, unit and sim    (build/asan)
  3. everything, warnings being errors                (build/dev)

  --quick        only step 3
  --no-skip      a test that cannot run here is a failure (CI=true means it)
  --no-install   the packages are there
  PATTERN        only tests whose name matches it (a regular expression)

What needs root (network namespaces) is skipped, with the reason, when the
tests run as another user.  Nothing is sent to another machine.
TEXT
}

quick=false install=true pattern=
[ "${CI:-}" = true ] && strict=true || strict=false
for argument; do
    case $argument in
    --help | -h)
        usage
        exit 0
        ;;
    --quick) quick=true ;;
    --no-skip) strict=true ;;
    --no-install) install=false ;;
    -*)
        usage >&2
        exit 2
        ;;
    *) pattern=$argument ;;
    esac
done

if $install; then
    install_packages "${build_packages[@]}" "${test_packages[@]}"
    install_node
fi
mkdir -p "$top/build"

# matching PRESET KINDS: the names that the pattern means, joined by |.
matching() {
    ctest --test-dir "$top/build/$1" -N -R "^($2)/" |
        sed -n 's/^ *Test *#[0-9]*: //p' | grep -E -- "$pattern" | paste -sd '|'
}

# run_tests PRESET KINDS: fail on a failure, and on a skip if that was asked
# for.
matched=false
run_tests() {
    local preset=$1 tests="^($2)/" log=$top/build/.ctest.$1.log status=0
    if [ -n "$pattern" ]; then
        tests=$(matching "$preset" "$2") || return 0
        tests="^($tests)\$"
    fi
    matched=true
    say "testing ($preset)"
    ctest --test-dir "$top/build/$preset" --output-on-failure -j "$jobs" \
        --no-tests=error -R "$tests" 2>&1 | tee "$log" || status=$?
    if $strict && grep -q '\*\*\*Skipped' "$log"; then
        grep '\*\*\*Skipped' "$log" >&2
        die "tests were skipped, and here none may be"
    fi
    return $status
}

if ! $quick; then
    build fuzz
    run_tests fuzz fuzz
    build asan
    run_tests asan 'unit|sim'
fi
build dev
run_tests dev '[a-z0-9]+'
$matched || die "no test has a name that matches $pattern"
