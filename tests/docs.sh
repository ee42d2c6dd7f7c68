#!/usr/bin/env bash
# What the documents name is there: options, commands, settings, environment
# variables, and the files that they link to.  And `:help covim` names every
# command and setting of the plugin; tests/man.sh does so for the program.
set -euo pipefail
cd "$(dirname "$0")/.."
covim=$COVIM_BUILD/cli/covim gate=$COVIM_BUILD/gate/covim-gate
documents=(README.md CONTRIBUTING.md CHANGELOG.md docs/*.md docs/*.1
    vimplugin/doc/covim.txt)
status=0

wrong() {
    echo "$*"
    status=1
}

# missing LIST LIST: lines of the first that the second has not.
missing() {
    comm -23 <(sort -u <<<"$1") <(sort -u <<<"$2")
}

# Options: of the programs, of our scripts, of `:CoVim share`, and of tools
# that are not ours.
options=$(
    for command in $("$covim" --help | sed -n 's/^  covim \([a-z]*\).*/\1/p'); do
        "$covim" "$command" --help
    done
    "$gate" --help
    for script in bench demo test; do
        "scripts/$script.sh" --help
    done
    grep -ho -- "'--[a-z]*'" vimplugin/autoload/covim/command.vim
    grep -hoE -- '"--[a-z]+"|^  --[a-z-]+' tests/bench/*.c tests/bench/*.sh
    echo --preset --build --install --install-prefix --parallel --version
    echo --cflags --libs
)
options=$(grep -oE -- '--[a-z][a-z-]*' <<<"$options")
for document in "${documents[@]}"; do
    named=$(sed 's/\\-/-/g' "$document" |
        grep -oE -- '(^|[^a-zA-Z0-9-])--[a-z][a-z-]+' |
        grep -oE -- '--[a-z-]+' || :)
    for option in $([ -z "$named" ] || missing "$named" "$options"); do
        wrong "$document names $option, which nothing has"
    done
done

# Commands and settings of the plugin, both ways.
commands=$(sed -n 's/^function! s:commands\.\([a-z]*\)(.*/\1/p' \
    vimplugin/autoload/covim/command.vim)
commands+=$'\ndisconnect'
named=$(grep -ohE ':CoVim!? [a-z]+' "${documents[@]}" | sed 's/.* //')
for command in $(missing "$named" "$commands"); do
    wrong "a document names :CoVim $command, which there is not"
done
for command in $(missing "$commands" "$(grep -oE '\*:CoVim-[a-z]+\*' \
    vimplugin/doc/covim.txt | sed 's/.*-\([a-z]*\)\*/\1/')"); do
    wrong "vimplugin/doc/covim.txt does not name :CoVim $command"
done
setting="covim_[a-z0-9_]+"
# Some are read in a loop over what follows "covim_".
looped=$(sed -n "s/.*for l:key in \[\(.*\)\]/\1/p" \
    vimplugin/autoload/covim/rpc.vim | tr -d "'," | tr ' ' '\n' |
    sed 's/^/covim_/')
code=$(
    grep -rhoE "$setting" vimplugin/autoload vimplugin/plugin vimplugin/lua
    echo "$looped"
)
named=$(grep -ohE "g:$setting" "${documents[@]}" | sed 's/^g://')
for name in $(missing "$named" "$code"); do
    wrong "a document names g:$name, which nothing reads"
done
read_here=$(
    grep -rhoE "g:$setting|get\(g:, '$setting'" vimplugin/autoload \
        vimplugin/plugin | grep -oE "$setting" | grep -vx covim_nvim_answered
    echo "$looped"
)
for name in $(missing "$read_here" "$(grep -oE "\*g:$setting\*" \
    vimplugin/doc/covim.txt | grep -oE "$setting")"); do
    wrong "vimplugin/doc/covim.txt does not name g:$name"
done

# Environment variables.
while read -r name; do
    grep -rq "\"$name\"" cli session transport base gate ||
        wrong "a document names $name, which nothing reads"
done < <(grep -ohE '\bCOVIM_[A-Z_]+' docs/*.1 README.md | sort -u)

# Links of one document to another file.
for document in "${documents[@]}"; do
    for link in $(grep -oE '\]\([^)#: ]+[)#]' "$document" |
        sed 's/^](//; s/.$//' || :); do
        [ -e "$(dirname "$document")/$link" ] ||
            wrong "$document links to $link, which there is not"
    done
done
exit $status
