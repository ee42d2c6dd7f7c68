#!/bin/sh
# Includes point down only, and each library is known to one file.
#
#     tests/includes.sh          check this tree, then check the check
#     tests/includes.sh DIR      check the tree in DIR
#
# Prints a line for each violation; exits 1 if there was one.
set -eu

folders='base crdt discovery transport session gate cli include'

# What a folder may include, and link: everything below it, itself, and never
# its neighbours.  The gate cannot know documents.
# shellcheck disable=SC2016 # the dollars are awk's
rules='
    may["base"] = "base"
    may["crdt"] = "crdt base"
    may["discovery"] = "discovery base"
    may["transport"] = "transport base"
    may["include"] = "include"
    may["session"] = "session include discovery transport crdt base"
    may["gate"] = "gate discovery transport base"
    may["cli"] = "cli session include discovery transport crdt base"

    # A library, and the file that knows it; where one file grew into a few,
    # they share a folder and the beginning of their names.
    only("event2/|event[.]h|evdns[.]h|evutil[.]h", "base/loop(_names)?[.]c")
    only("gnutls/", "base/key[.]c|transport/(quic|tls)[a-z_]*[.][ch]")
    only("nettle/", "base/crypto[.]c")
    only("opendht", "discovery/dht_runner[.]c")
    only("ngtcp2/", "transport/quic[a-z_]*[.][ch]")
    # The lines of the editor; and the states of other people, which are JSON
    # in the protocol of the document format.
    only("jansson", "cli/(rpc|json[a-z_]*)[.]c|session/presence[.]c")
    only("sqlite3", "session/store[.]c")
    only("miniupnpc/", "transport/upnp[.]c")
    only("wslay/", "gate/ws[.]c|transport/gatews[.]c")
'

# Not libraries: the language, POSIX and Linux.
system='(sys|net|netinet|arpa|linux|asm)/.*|(assert|byteswap|ctype|dirent'
system="$system|dlfcn|endian|errno|fcntl|float|fnmatch|ftw|getopt|glob|grp"
system="$system|ifaddrs|inttypes|langinfo|libgen|limits|locale|malloc|math"
system="$system|netdb|poll|pthread|pwd|regex|resolv|sched|semaphore|setjmp"
system="$system|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint"
system="$system|stdio|stdlib|string|strings|syslog|termios|threads|time"
system="$system|unistd|wchar|wctype)[.]h"

# Lines "FILE:LINE: what is wrong".
check_includes()
{
    awk -v system_re="^($system)\$" '
    function only(lib, files)
    {
        libs++
        lib_re[libs] = "^(" lib ")"
        files_re[libs] = "^(" files ")$"
    }
    function complain(what)
    {
        print FILENAME ":" FNR ": " what
        bad = 1
    }
    function has(list, word)
    {
        return index(" " list " ", " " word " ") > 0
    }
    BEGIN {'"$rules"'}
    /^[ \t]*#[ \t]*include/ {
        name = $0
        sub(/^[ \t]*#[ \t]*include[a-z_]*[ \t]*/, "", name)
        if (name !~ /^"[^"]+"/ && name !~ /^<[^>]+>/) {
            complain("this include cannot be read")
            next
        }
        quoted = name ~ /^"/
        name = substr(name, 2)
        sub(/[">].*$/, "", name)

        from = FILENAME
        sub("/.*", "", from)
        to = name
        sub("/.*", "", to)
        if (to == "covim")
            to = "include"
        climbs = name ~ /(^|\/)[.][.]\//
        if (to in may || to == "tests" || climbs) {
            if (climbs || !has(may[from], to))
                complain(from " may not include " name)
            pairs++
            pair_file[pairs] = FILENAME
            pair_line[pairs] = FNR
            pair_name[pairs] = to == "include" ? "include/" name : name
            next
        }
        if (quoted) {
            complain(name " is not written from the top of the tree")
            next
        }
        if (name ~ system_re)
            next
        for (i = 1; i <= libs; i++)
            if (name ~ lib_re[i]) {
                if (FILENAME !~ files_re[i])
                    complain("only " files_re[i] " may include <" name ">")
                if (FILENAME ~ /[.]h$/)
                    carries[FILENAME, i] = 1
                next
            }
        complain("<" name "> is of no known library: name its one file in" \
                 " tests/includes.sh")
    }
    END {
        # A header that knows a library passes it on.
        do {
            again = 0
            for (k = 1; k <= pairs; k++)
                for (i = 1; i <= libs; i++)
                    if (((pair_name[k], i) in carries) &&
                        pair_file[k] ~ /[.]h$/ &&
                        !((pair_file[k], i) in carries)) {
                        carries[pair_file[k], i] = 1
                        again = 1
                    }
        } while (again)
        for (k = 1; k <= pairs; k++)
            for (i = 1; i <= libs; i++)
                if (((pair_name[k], i) in carries) &&
                    pair_file[k] !~ files_re[i]) {
                    print pair_file[k] ":" pair_line[k] ": through " \
                        pair_name[k] " it knows a library of " files_re[i]
                    bad = 1
                }
        exit bad
    }' "$@"
}

# What a folder links is what it may include.
check_links()
{
    awk '
    function only(lib, files) {}
    BEGIN {'"$rules"'}
    {
        sub(/#.*/, "")
        from = FILENAME
        sub("/.*", "", from)
        while (match($0, /covim_[a-z]+/)) {
            to = substr($0, RSTART + 6, RLENGTH - 6)
            $0 = substr($0, RSTART + RLENGTH)
            if ((to in may) && index(" " may[from] " ", " " to " ") == 0) {
                print FILENAME ":" FNR ": " from " may not link " to
                bad = 1
            }
        }
    }
    END { exit bad }' "$@"
}

check_tree()
{
    (
        cd "$1"
        bad=0
        present=
        for f in $folders; do
            [ -d "$f" ] && present="$present $f"
        done
        # Names in this tree have no white space.
        # shellcheck disable=SC2046,SC2086
        set -- $(find $present -name '*.[ch]' | sort)
        [ $# -gt 0 ] || { echo "no sources in $PWD"; exit 1; }
        check_includes "$@" || bad=1
        # shellcheck disable=SC2046,SC2086
        set -- $(find $present -name CMakeLists.txt | sort)
        [ $# -eq 0 ] || check_links "$@" || bad=1
        exit $bad
    )
}

if [ $# -eq 1 ]; then
    check_tree "$1"
    exit
fi

top=$(cd "$(dirname "$0")/.." && pwd)
check_tree "$top"

# ---- the check itself: a small tree, and one violation at a time ----

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
tree=$temporary/tree

plant_nothing()
{
    rm -rf "$tree"
    for f in $folders; do
        mkdir -p "$tree/$f"
    done
    mkdir "$tree/include/covim"
    printf '#include <stdint.h>\n' >"$tree/include/covim/covim.h"
    printf '#include <event2/event.h>\n' >"$tree/base/loop.c"
    printf '#include <stdint.h>\n' >"$tree/base/loop.h"
    printf '#include "base/loop.h"\n' >"$tree/crdt/doc.h"
    printf '#include "base/loop.h"\n' >"$tree/discovery/finder.h"
    printf '#include <ngtcp2/ngtcp2.h>\n' >"$tree/transport/quic_impl.h"
    printf '#include "transport/quic_impl.h"\n' >"$tree/transport/quic.c"
    printf '#include <sys/socket.h>\n#include "base/loop.h"\n' \
        >"$tree/transport/path.h"
    printf '#include "crdt/doc.h"\n#include "transport/path.h"\n' \
        >"$tree/session/session.h"
    printf '#include "covim/covim.h"\n#include "session/session.h"\n' \
        >"$tree/session/session.c"
    printf '#include "transport/path.h"\n' >"$tree/gate/gate.c"
    printf '#include <jansson.h>\n#include "session/session.h"\n' \
        >"$tree/cli/json.c"
    printf 'covim_library(covim_gate SOURCES x.c LINK covim_transport)\n' \
        >"$tree/gate/CMakeLists.txt"
}

failures=0
planted=0

# must_fail FILE LINE WORDS: the line is refused, at that place, in words that
# contain WORDS.
must_fail()
{
    plant_nothing
    printf '\n%s\n' "$2" >>"$tree/$1"
    planted=$((planted + 1))
    if check_tree "$tree" >"$temporary/out"; then
        echo "not noticed in $1: $2"
        failures=$((failures + 1))
    elif ! grep -q "^$1:[0-9]*: .*$3" "$temporary/out"; then
        echo "wrongly reported for $1: $2"
        cat "$temporary/out"
        failures=$((failures + 1))
    fi
}

plant_nothing
check_tree "$tree" || { echo "a tree without violations is refused"; exit 1; }

for up in crdt discovery transport session gate cli; do
    must_fail base/x.c "#include \"$up/x.h\"" "base may not include $up/x.h"
done
for middle in crdt discovery transport; do
    for other in crdt discovery transport session gate cli; do
        [ $middle = $other ] ||
            must_fail $middle/x.h "#include \"$other/x.h\"" \
                "$middle may not include $other/x.h"
    done
    must_fail $middle/x.c '#include "covim/covim.h"' 'may not include covim'
done
must_fail session/x.c '#include "cli/rpc.h"' 'session may not include cli'
must_fail session/x.c '#include "gate/gate.h"' 'session may not include gate'
must_fail gate/gate.c '#include "session/session.h"' 'gate may not include'
must_fail gate/gate.c '#include "crdt/doc.h"' 'gate may not include'
must_fail gate/gate.c '#include "cli/rpc.h"' 'gate may not include'
must_fail cli/x.c '#include "gate/gate.h"' 'cli may not include gate'
must_fail cli/x.c '#include "tests/test.h"' 'cli may not include tests'
must_fail include/covim/covim.h '#include "base/err.h"' 'include may not'
must_fail crdt/x.c '#include <transport/path.h>' 'crdt may not include'
must_fail crdt/x.c '#include "../transport/path.h"' 'crdt may not include'
must_fail crdt/x.c '#include "base/../transport/path.h"' 'crdt may not include'
must_fail crdt/x.c '#  include	"session/session.h" /* why */' 'crdt may not'
must_fail crdt/x.c '#include "doc.h"' 'not written from the top'
must_fail crdt/x.c '#include DOC_H' 'cannot be read'
must_fail session/x.c '#include <event2/event.h>' 'only .*base/loop'
must_fail base/loop.h '#include <event2/event.h>' 'only .*base/loop'
must_fail base/crypto.c '#include <gnutls/gnutls.h>' 'only .*base/key'
must_fail base/key.c '#include <nettle/sha2.h>' 'only .*base/crypto'
must_fail transport/path.c '#include <ngtcp2/ngtcp2.h>' 'only .*quic'
must_fail session/quic.c '#include <ngtcp2/ngtcp2.h>' 'only .*quic'
must_fail discovery/finder.c '#include <opendht/opendht_c.h>' 'only .*dht'
must_fail session/session.c '#include <jansson.h>' 'only .*json'
must_fail session/session.c '#include <sqlite3.h>' 'only .*store'
must_fail transport/x.c '#include <miniupnpc/miniupnpc.h>' 'only .*upnp'
must_fail gate/x.c '#include <wslay/wslay.h>' 'only .*ws'
must_fail transport/x.c '#include <curl/curl.h>' 'of no known library'
must_fail transport/path.c '#include "transport/quic_impl.h"' \
    'through transport/quic_impl.h'
must_fail gate/CMakeLists.txt 'target_link_libraries(x covim_crdt)' \
    'gate may not link crdt'
must_fail gate/CMakeLists.txt '    LINK covim_base covim_session)' \
    'gate may not link session'

# Through a header of its own.
plant_nothing
printf '#include "transport/quic_impl.h"\n' >"$tree/transport/more.h"
printf '#include "transport/more.h"\n' >"$tree/session/y.c"
planted=$((planted + 1))
if check_tree "$tree" >"$temporary/out" ||
    ! grep -q '^session/y.c:1: through transport/more.h' "$temporary/out"; then
    echo "a library that comes through two headers is not noticed"
    failures=$((failures + 1))
fi

echo "includes: the tree is in order; $planted violations planted," \
    "$failures missed"
[ $failures -eq 0 ]
