"""Signs governance requests with ccf's own command line, one after the other: for a line with the arguments of `ccf_cose_sign1`, a
JSON list, comes a line with what it prints, base64. Starting Python for each would take most of a test's time."""

import base64
import io
import json
import sys
import types

import ccf.cose

for line in iter(sys.stdin.readline, ""):
    sys.argv = ["ccf_cose_sign1", *json.loads(line)]
    printed, sys.stdout = sys.stdout, types.SimpleNamespace(buffer=io.BytesIO())
    try:
        ccf.cose.sign_cli()
    finally:
        printed, sys.stdout = sys.stdout.buffer.getvalue(), printed
    print(base64.b64encode(printed).decode(), flush=True)
