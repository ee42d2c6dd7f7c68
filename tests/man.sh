#!/usr/bin/env bash
# The man pages are clean, and name every command and option of the program.
set -euo pipefail
cd "$(dirname "$0")/.."
covim=$COVIM_BUILD/cli/covim

command -v mandoc >/dev/null || {
    echo "SKIP: mandoc is not installed"
    exit 77
}
mandoc -T lint -W warning docs/*.1
page=$(mandoc -T ascii docs/covim.1 | sed 's/.\x08//g')
for command in $("$covim" --help | sed -n 's/^  covim \([a-z]*\).*/\1/p'); do
    grep -qw "$command" <<<"$page" || {
        echo "docs/covim.1 does not name the command $command"
        exit 1
    }
    for option in $("$covim" "$command" --help |
        grep -o -- '--[a-z][a-z-]*' | sort -u); do
        grep -q -- "$option" <<<"$page" || {
            echo "docs/covim.1 does not name $option of $command"
            exit 1
        }
    done
done
"$covim" --version | grep -q '^covim [0-9]'
