#!/usr/bin/env bash
# Rules of this house that no lint knows. Each prints what breaks it.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
rule() { # description, offending lines
  if [ -n "$2" ]; then
    printf '%s\n%s\n\n' "$1:" "$2" >&2
    failed=1
  fi
}

rule "unsafe stands in sandbox alone" \
  "$(git grep -nwE 'unsafe' -- 'ledger/*.rs' 'machine/*.rs' 'server/*.rs' 'cli/*.rs' 'bench/*.rs' | grep -vE '//|unsafe_code|"unsafe"' || true)"
rule "machine and ledger know no runtime, socket, thread or clock" \
  "$(git grep -nE 'tokio|std::net|std::thread|SystemTime|Instant::now' -- 'ledger/src/*.rs' 'machine/src/*.rs' | grep -vE '^\S+:[0-9]+:\s*//|tests?\.rs' || true)"
rule "files of a size that one would like to open (900 lines)" \
  "$(git ls-files '*.rs' '*.js' '*.py' '*.sh' | xargs wc -l | awk '$2 != "total" && $1 > 900 {print $2 ": " $1}')"
rule "servers in tests listen on 127.0.0.1" \
  "$(git grep -nE '0\.0\.0\.0' -- '*.rs' '*.js' '*.sh' '*.py' | grep -v 'house-rules' || true)"
exit $failed
