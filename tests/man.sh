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

# The gate: every option, and every limit with its default.
gate=$COVIM_BUILD/gate/covim-gate
page=$(mandoc -T ascii -O width=1000 docs/covim-gate.1 | sed 's/.\x08//g')
for option in $("$gate" --help | grep -o -- '^  --[a-z][a-z-]*'); do
    grep -q -- "$option\b" <<<"$page" || {
        echo "docs/covim-gate.1 does not name $option"
        exit 1
    }
done
limits=$("$gate" --help | sed -n '/^Limits/,$p' | sed -n '
    /^  --/ { s/^  --\([a-z-]*\) N$/\1/; h; d; }
    s/^        .*(default \([0-9]*\))$/\1/; T; H; x; s/\n/ /p')
[ "$(wc -l <<<"$limits")" -gt 15 ]
while read -r name value; do
    grep -q "^| .$name. | $value |" docs/gate.md || {
        echo "docs/gate.md does not say that $name is $value"
        exit 1
    }
    grep -A1 -w -- "--$name" <<<"$page" | grep -q "($value)" || {
        echo "docs/covim-gate.1 does not say that $name is $value"
        exit 1
    }
done <<<"$limits"
"$gate" --version | grep -q '^covim-gate [0-9]'
