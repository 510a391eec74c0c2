"""Checks a saved receipt with the public package ccf, as it is: receipt.py FILE SERVICE_CERTIFICATE"""

import base64
import hashlib
import json
import pathlib
import sys

import ccf.cose
import ccf.receipt
from cryptography.x509 import load_pem_x509_certificate


def sha256(data):
    return hashlib.sha256(data).digest()


saved = json.loads(pathlib.Path(sys.argv[1]).read_text())
service = load_pem_x509_certificate(pathlib.Path(sys.argv[2]).read_bytes())
node = load_pem_x509_certificate(saved["cert"].encode())
parts = saved["leaf_components"]
claims = bytes.fromhex(parts["claims_digest"])
leaf = sha256(bytes.fromhex(parts["write_set_digest"]) + sha256(parts["commit_evidence"].encode()) + claims)
ccf.receipt.verify(ccf.receipt.root(leaf.hex(), saved["proof"]), saved["signature"], node)
ccf.receipt.check_endorsements(node, service, [])
ccf.cose.verify_receipt(base64.b64decode(saved["cose"]), service.public_key(), claims)
assert claims == sha256(saved["record"].encode())
