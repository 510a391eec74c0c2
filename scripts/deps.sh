#!/usr/bin/env bash
# Brings what the build (or the tests) need and this machine lacks: Debian packages and the WebAssembly target.
# Quiet, and quick when nothing is missing.
set -euo pipefail

missing=()
need() { # program, package
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

need clang clang
need ld.lld lld
need llvm-ar llvm
need curl curl
need openssl openssl
if [ "${1:-build}" = test ]; then
  need node nodejs
  need npm npm
  need python3 python3
  python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)
fi

if [ ${#missing[@]} -gt 0 ]; then
  sudo=()
  if [ "$(id -u)" != 0 ]; then sudo=(sudo); fi
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "Please install: ${missing[*]}" >&2
    exit 1
  fi
  echo "Installing ${missing[*]}" >&2
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then
  rustup target add wasm32-unknown-unknown
fi
