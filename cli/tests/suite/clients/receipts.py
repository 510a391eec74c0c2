"""Checks receipts, as nodes serve them and as apps get them, with the public package ccf: receipts.py SERVICE_CERTIFICATE < LIST

Prints how many there are. Each must be right, and wrong after a change of one bit of any part."""

import copy
import hashlib
import json
import pathlib
import sys

import ccf.receipt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

service = load_pem_x509_certificate(pathlib.Path(sys.argv[1]).read_bytes())


def sha256(data):
    return hashlib.sha256(data)


def check(receipt):
    node = load_pem_x509_certificate(receipt["cert"].encode())
    # The node's name is its key.
    key = node.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert receipt["node_id"] == sha256(key).hexdigest()
    if "root_hex" in receipt:
        root = receipt["root_hex"]
    else:
        leaf = receipt.get("leaf")
        if leaf is None:
            parts = receipt["leaf_components"]
            claims = bytes.fromhex(parts.get("claims_digest", "00" * 32))
            evidence = sha256(parts["commit_evidence"].encode()).digest()
            leaf = sha256(bytes.fromhex(parts["write_set_digest"]) + evidence + claims).hexdigest()
        root = ccf.receipt.root(leaf, receipt["proof"])
    ccf.receipt.verify(root, receipt["signature"], node)
    ccf.receipt.check_endorsements(node, service, [])


def refused(receipt):
    try:
        check(receipt)
    except Exception:
        return True
    return False


def flip(text):
    return ("0" if text[0] != "0" else "1") + text[1:]


receipts = json.load(sys.stdin)
for receipt in receipts:
    check(receipt)
    for part in ["leaf", "root_hex"]:
        if part in receipt:
            assert refused({**receipt, part: flip(receipt[part])}), part
    for part in receipt.get("leaf_components", {}):
        changed = copy.deepcopy(receipt)
        text = changed["leaf_components"][part]
        changed["leaf_components"][part] = text[:-1] + flip(text[-1]) if part == "commit_evidence" else flip(text)
        assert refused(changed), part
    for at, step in enumerate(receipt.get("proof", [])):
        changed = copy.deepcopy(receipt)
        changed["proof"][at] = {side: flip(digest) for side, digest in step.items()}
        assert refused(changed), at
print(len(receipts))
