# Shared by the scripts of this folder: say what happens, install, build.
# Sourced by bash; expects `set -euo pipefail`.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc 2>/dev/null || echo 2)

# Debian 12 packages, by what wants them.
build_packages=(gcc cmake ninja-build pkg-config git ca-certificates
    libopendht-c-dev libopendht-dev libgnutls28-dev nettle-dev libevent-dev
    libngtcp2-dev libngtcp2-crypto-gnutls-dev libjansson-dev
    libminiupnpc-dev libwslay-dev libsqlite3-dev)
demo_packages=(vim tmux)
test_packages=(vim neovim tmux libcmocka-dev zlib1g-dev clang
    libclang-rt-14-dev iproute2 nftables conntrack dhtnode procps
    miniupnpd-nftables
    util-linux e2fsprogs systemd mandoc clang-format python3 python3-cryptography)

say() {
    printf '\033[1m== %s\033[0m\n' "$*" >&2
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Run a command as root: as we are, or through sudo, which is said.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        say "with sudo: $*"
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*"
    fi
}

# install_packages NAME…: the ones that are missing, if any.
install_packages() {
    local missing=() name
    command -v dpkg-query >/dev/null ||
        die "this is not Debian; install what scripts/lib.sh lists by hand"
    for name in "$@"; do
        dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null |
            grep -q '^install ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing Debian packages: ${missing[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends "${missing[@]}"
}

# Node and npm for the interop tests: any recent ones, else Debian's.
install_node() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        install_packages nodejs npm
    fi
}

# build PRESET [TARGET…]: configure once, then build; prints where.
build() {
    local preset=$1
    shift
    local dir=$top/build/$preset
    say "building ($preset)"
    (cd "$top" && cmake --preset "$preset" >"$top/build/.$preset.log" 2>&1) || {
        cat "$top/build/.$preset.log" >&2
        die "the build could not be configured"
    }
    if [ $# -gt 0 ]; then
        cmake --build "$dir" -j "$jobs" --target "$@" >&2
    else
        cmake --build "$dir" -j "$jobs" >&2
    fi
}
