#!/usr/bin/env bash
# Every C file of the tree is as .clang-format (version 14) puts it.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=$(command -v clang-format-14 || command -v clang-format || :)
if [ -z "$tool" ] || ! "$tool" --version | grep -q 'version 14\.'; then
    echo "SKIP: clang-format 14 is not installed"
    exit 77
fi
git ls-files '*.c' '*.h' | xargs "$tool" --dry-run --Werror
