#!/usr/bin/env bash
# The identity file, or its folder, is open to others or damaged: exit code 6
# (1 for damage), a sentence that names the file and the command that helps,
# the same in Vim, and nothing is written; after that command it works.
set -euo pipefail
# shellcheck source=tests/e2e/bad.sh
. "$(dirname "$0")/bad.sh"

bad_lab
printf 'text\n' >"$work/text.txt"
data=$work/host.data
lab_in pub "$covim" key --data-dir "$data" >"$work/key"
cksum <"$data/identity" >"$work/before"
share host pub "$work/text.txt"
stop "$share_pid"
some_key=$key

# refused CODE SENTENCE: what covim share, join and key say.
refused() {
    local command
    for command in "share $work/text.txt" "join $some_key $work/never.txt" key; do
        status=0
        # shellcheck disable=SC2086
        timeout 20 ip netns exec "$lab_id-pub" "$covim" ${command%% *} \
            --data-dir "$data" \
            $([[ $command = *\ * ]] && echo "${command#* }") \
            >"$work/out" 2>"$work/said.err" </dev/null || status=$?
        [ $status = "$1" ] || fail "covim $command: exit code $status, not $1"
        [ "$(cat "$work/said.err")" = "covim: $2" ] ||
            fail "covim $command does not say \"$2\""
        [ ! -s "$work/out" ] || fail "covim $command shows a key all the same"
    done
    [ "$(cksum <"$data/identity")" = "$(cat "$work/before")" ] ||
        fail "the identity was changed"
    [ ! -e "$work/never.txt" ] || fail "a file was made"
}

step "a file, then a folder, open to others"
chmod 644 "$data/identity"
refused 6 "$data/identity is open to other users (mode 0644); run: chmod 600 $data/identity"
chmod 600 "$data/identity"
chmod 755 "$data"
refused 6 "$data is open to other users (mode 0755); run: chmod 700 $data"
chmod 700 "$data"

step "a file of somebody else, a link, a damaged one"
chown 65534 "$data/identity"
refused 6 "$data/identity belongs to another user; run: sudo chown 0 $data/identity"
chown 0 "$data/identity"
mv "$data/identity" "$data/elsewhere"
ln -s elsewhere "$data/identity"
refused 6 "$data/identity is a symbolic link; put the identity file itself there, or remove the link: rm $data/identity"
rm "$data/identity"
cp "$data/elsewhere" "$data/identity"
head -c 40 "$data/elsewhere" >"$data/identity"
cksum <"$data/identity" >"$work/before"
refused 1 "the identity file $data/identity is damaged; restore it from a backup, or move it away to get a new identity: mv $data/identity $data/identity.damaged"

step "in Vim: the same sentence, and the text is left alone"
printf 'mine\n' >"$work/mine.txt"
vim_start v h1 "$work/mine.txt"
mkdir -p "$work/v/data"
mkdir -m 700 "$work/v/data/covim"
cp "$data/elsewhere" "$work/v/data/covim/identity"
chmod 640 "$work/v/data/covim/identity"
vim_keys v 'onot saved' Escape ':CoVim share' Enter
vim_wait v 10 "execute('messages') =~# 'chmod 600'" || fail "nothing is said"
says v "covim: share: .*/identity is open to other users (mode 0640); run: chmod 600 $work/v/data/covim/identity" ||
    fail "it is not said what to do"
vim_keys v '' Escape
vim_keys v ":CoVim join $some_key" Enter
vim_wait v 10 "len(filter(covim#ui#lines(), 'v:val =~# \"join: .*chmod 600\"'))" ||
    fail "join does not say it"
vim_keys v Escape
[ "$(vim_eval v 'getline(1, "$")')" = '["mine","not saved"]' ] ||
    fail "the text was touched"
[ "$(vim_eval v 'len(covim#sessions())')" = 0 ] || fail "a session was made"
no_errors v

step "after the chmod it works, in the same Vim"
chmod 600 "$work/v/data/covim/identity"
vim_keys v ':CoVim share' Enter
lab_wait 10 vim_key v || fail "no key"
vim_end v
