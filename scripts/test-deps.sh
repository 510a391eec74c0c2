#!/bin/sh
# Brings the foreign clients that the tests drive the server with: from npm nodevms-client, @microsoft/ccf-app and what an app in
# TypeScript is built with, from PyPI ccf and a validator of OpenAPI. Also from npm: Endo's packages and Agoric's liveslots, the
# oracles of what vats see. All go to a folder of their own (default: target/test-deps), once; when they are there, nothing is done.
#
#   scripts/test-deps.sh [FOLDER]
#
# FOLDER/node   node_modules and the script of cli/tests/suite/clients
# FOLDER/endo   node_modules for the oracles of sandbox/guest/tests/vats
# FOLDER/venv   a Python environment
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/target/test-deps}
clients=$root/cli/tests/suite/clients
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# Whatever fails shows its output; what succeeds is silent.
quietly() {
    if ! "$@" >"$folder/log" 2>&1; then
        cat "$folder/log" >&2
        echo "test-deps: failed: $*" >&2
        exit 1
    fi
}

need() {
    command -v "$1" >/dev/null || { echo "test-deps: $1 is missing: install $2" >&2; exit 1; }
}

# npm: what is wanted is in package.json. A finished installation has a copy of it.
install() { # package.json, folder
    if ! cmp -s "$1" "$2/done.json"; then
        need npm "nodejs and npm"
        rm -rf "$2"
        mkdir "$2"
        cp "$1" "$2/"
        quietly npm install --prefix "$2" --no-audit --no-fund --ignore-scripts --no-package-lock
        cp "$1" "$2/done.json"
    fi
}
install "$clients/package.json" "$folder/node"
install "$root/sandbox/guest/tests/vats/endo/package.json" "$folder/endo"
cp "$clients/nodevms.js" "$folder/node/"

# pip: the same with requirements.txt.
if ! cmp -s "$clients/requirements.txt" "$folder/venv/done.txt"; then
    need python3 "python3 and python3-venv"
    rm -rf "$folder/venv"
    quietly python3 -m venv "$folder/venv"
    quietly "$folder/venv/bin/pip" install --disable-pip-version-check -r "$clients/requirements.txt"
    cp "$clients/requirements.txt" "$folder/venv/done.txt"
fi
