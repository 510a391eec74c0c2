#!/usr/bin/env bash
# The main job, end to end: serve a counter, call it with a key and keep the receipt, kill the server hard under load, start
# it again, audit it, and hold the receipt against what it has. Then the same, short, with a bundle, and with vats.
set -euo pipefail

glassbox=$(realpath "$1")
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/glassbox-demo.XXXXXX")
server=
trap 'if [ -n "$server" ]; then kill -9 "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
cd "$work"
export GLASSBOX_CONFIG="$work/config" # the demo's key is none of yours
cp "$root/examples/persistent-counter.js" .

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; }

serve() {
  show glassbox exec persistent-counter.js
  : >banner
  "$glassbox" exec persistent-counter.js -p 0 >banner 2>server.log &
  server=$!
  disown "$server"
  for _ in $(seq 200); do
    grep -q '^Call log' banner && break
    kill -0 "$server" 2>/dev/null || { cat server.log >&2; exit 1; }
    sleep 0.05
  done
  cat banner
  [ ! -s server.log ] || cat server.log
  url=localhost:$(sed -n 's/^Serving at localhost://p' banner)
}

say "A script is served. Its ledger, its keys and its files are in one directory."
serve

say "A caller makes a key. From now on his calls are signed."
show glassbox key new
"$glassbox" key new

say "Three calls. Each is answered when its transaction is on disk; with --receipts, when it is signed as well."
for _ in 1 2 3; do
  show glassbox call "$url" increment --receipts receipts
  "$glassbox" call "$url" increment --receipts receipts
done

say "A receipt proves the call and its result, without the server and without the ledger."
receipt=$(find receipts -name '*.json' | sort | tail -n 1)
show glassbox receipt verify "$receipt"
"$glassbox" receipt verify "$receipt"

say "Four clients call as fast as they can; then: kill -9."
clients=()
for n in 1 2 3 4; do
  "$glassbox" repl "$url" -e 'for (;;) console.log(await client.increment())' >"acks.$n" 2>/dev/null &
  clients+=($!)
done
# The load has begun when every client has been answered a hundred times.
for _ in $(seq 400); do
  busy=0
  for n in 1 2 3 4; do [ "$(wc -l <"acks.$n")" -ge 100 ] && busy=$((busy + 1)); done
  [ "$busy" = 4 ] && break
  kill -0 "$server" 2>/dev/null || { cat server.log >&2; exit 1; }
  sleep 0.05
done
[ "$busy" = 4 ] || { echo "the clients were not served" >&2; exit 1; }
kill -9 "$server"
wait "${clients[@]}" 2>/dev/null || true
server=
acknowledged=$(cat acks.* | sort -n | tail -n 1)
echo "The server is gone. The highest count that a client was told: $acknowledged"

say "The same command again. The ledger is read, checked and replayed from its last checkpoint on."
serve

show glassbox call "$url" increment
count=$("$glassbox" call "$url" increment)
echo "$count"
if [ "$count" -le "$acknowledged" ]; then
  echo "An acknowledged call was lost: $count after $acknowledged" >&2
  exit 1
fi

say "The audit: download the ledger, check every signature, run every call again, compare with what is served and with the receipts."
show glassbox verify "$url" --receipts receipts
"$glassbox" verify "$url" --receipts receipts
kill "$server"
# It signs what is unsigned, and keeps its state.
while kill -0 "$server" 2>/dev/null; do sleep 0.05; done
server=

say "A bundle: endpoints over a key-value store, deployed by a proposal, over TLS."
cp -r "$root/examples/banking" .
show glassbox sandbox --js-app-bundle banking
: >banner
"$glassbox" sandbox --js-app-bundle banking --node 127.0.0.1:0 >banner 2>server.log &
server=$!
disown "$server"
for _ in $(seq 200); do
  grep -q '^Press' banner && break
  kill -0 "$server" 2>/dev/null || { cat server.log >&2; exit 1; }
  sleep 0.05
done
cat banner
node=$(sed -n 's/^  Node \[0\] = //p' banner)
keys=workspace/sandbox_common
user=$(openssl x509 -in $keys/user0_cert.pem -outform der | sha256sum | cut -d' ' -f1)
request() { # who, and what curl is told
  local who=$1
  shift
  show curl "$@" --cert "$who"_cert.pem
  curl -sS --fail-with-body --cacert $keys/service_cert.pem --cert "$keys/$who"_cert.pem --key "$keys/$who"_privk.pem "$@"
  echo
}
request member0 -X PUT "$node/app/account/$user" -d '{"balance":100}'
request user0 "$node/app/balance"
request user0 -X POST "$node/app/visits"
kill "$server"
while kill -0 "$server" 2>/dev/null; do sleep 0.05; done
server=

say "Its audit: with the ledger secret, which is in the operator's directory, every request is executed again."
show glassbox verify workspace/sandbox_0
"$glassbox" verify workspace/sandbox_0

say "Vats: objects in heaps of their own that send each other messages, and the audit of what they did."
cp -r "$root/examples/encouragement" .
show glassbox vat run encouragement --dir vats
"$glassbox" vat run encouragement --dir vats
show glassbox verify vats
"$glassbox" verify vats

cat <<EOF

Nothing that was acknowledged was lost, and nobody had to be trusted. By hand:

  $(realpath --relative-to="$root" "$glassbox") exec examples/persistent-counter.js      # serves at localhost:5555
  $(realpath --relative-to="$root" "$glassbox") key new                                  # signs your calls
  $(realpath --relative-to="$root" "$glassbox") repl localhost:5555 --receipts receipts  # > client.increment()
  $(realpath --relative-to="$root" "$glassbox") log localhost:5555
  $(realpath --relative-to="$root" "$glassbox") files localhost:5555 cat /counter
  $(realpath --relative-to="$root" "$glassbox") verify localhost:5555 --receipts receipts
  $(realpath --relative-to="$root" "$glassbox") sandbox --js-app-bundle examples/banking         # serves at https://127.0.0.1:8000
  $(realpath --relative-to="$root" "$glassbox") vat shell examples/encouragement         # vat> await step()
EOF
