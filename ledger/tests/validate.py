"""Validates a ledger and its receipts with the public package ccf, and sees that one changed byte is refused.

The folder holds ledger/, receipt.json, receipt.cose, saved.json, signature_receipt.json and service_cert.pem.
"""

import base64
import hashlib
import json
import pathlib
import shutil
import sys

import ccf.cose
import ccf.ledger
import ccf.receipt
from cryptography.x509 import load_pem_x509_certificate

folder = pathlib.Path(sys.argv[1])


def sha256(data):
    return hashlib.sha256(data).digest()


def validate(path):
    validator = ccf.ledger.LedgerValidator(accept_deprecated_entry_types=False)
    transactions = 0
    for chunk in ccf.ledger.Ledger([str(path)]):
        for transaction in chunk:
            validator.add_transaction(transaction)
            transactions += 1
    return validator, transactions


validator, transactions = validate(folder / "ledger")
assert validator.service_status == "Open"
assert validator.last_verified_seqno == transactions, "the last transaction is a signature"
print(f"{transactions} transactions and {validator.signature_count} signatures are valid")

service = load_pem_x509_certificate((folder / "service_cert.pem").read_bytes())

receipt = json.loads((folder / "receipt.json").read_text())
parts = receipt["leaf_components"]
leaf = sha256(
    bytes.fromhex(parts["write_set_digest"])
    + sha256(parts["commit_evidence"].encode())
    + bytes.fromhex(parts["claims_digest"])
)
node = load_pem_x509_certificate(receipt["cert"].encode())
root = ccf.receipt.root(leaf.hex(), receipt["proof"])
ccf.receipt.verify(root, receipt["signature"], node)
ccf.receipt.check_endorsements(node, service, [])
txid = parts["commit_evidence"].split(":")[1]
print(f"the receipt of {txid} is valid")

# A saved receipt is read as it is: all that the public tools need is in it.
saved = json.loads((folder / "saved.json").read_text())
parts = saved["leaf_components"]
leaf = sha256(
    bytes.fromhex(parts["write_set_digest"])
    + sha256(parts["commit_evidence"].encode())
    + bytes.fromhex(parts["claims_digest"])
)
node = load_pem_x509_certificate(saved["cert"].encode())
ccf.receipt.verify(ccf.receipt.root(leaf.hex(), saved["proof"]), saved["signature"], node)
ccf.receipt.check_endorsements(node, load_pem_x509_certificate(saved["service_cert"].encode()), [])
assert parts["claims_digest"] == sha256(saved["record"].encode()).hex()
assert parts["commit_evidence"].split(":")[1] == saved["transaction_id"]
ccf.cose.verify_receipt(base64.b64decode(saved["cose"]), service.public_key(), bytes.fromhex(parts["claims_digest"]))
print(f"the saved receipt of {saved['transaction_id']} is valid")

signature = json.loads((folder / "signature_receipt.json").read_text())
ccf.receipt.verify(ccf.receipt.root(signature["leaf"], signature["proof"]), signature["signature"], node)
print("the receipt of a signature is valid")

claims = bytes.fromhex(parts["claims_digest"])
cose = (folder / "receipt.cose").read_bytes()
ccf.cose.verify_receipt(cose, service.public_key(), claims)
changed = bytearray(cose)
changed[changed.find(claims)] ^= 1
try:
    ccf.cose.verify_receipt(bytes(changed), service.public_key(), claims)
    raise SystemExit("a changed COSE receipt was accepted")
except ValueError:
    print("the COSE receipt is valid, a changed one is refused")

parts["claims_digest"] = "00" * 32
assert ccf.receipt.root(sha256(b"another leaf").hex(), receipt["proof"]) != root

changed_ledger = folder / "changed"
shutil.copytree(folder / "ledger", changed_ledger)
for path in sorted(changed_ledger.iterdir()):
    data = bytearray(path.read_bytes())
    at = data.find(b"public:counter")
    if at >= 0:
        data[at + len("public:")] ^= 1
        path.write_bytes(data)
        break
else:
    raise SystemExit("no byte to change")
try:
    validate(changed_ledger)
    raise SystemExit("a changed ledger was accepted")
except ccf.ledger.InvalidRootException:
    print("a ledger with one changed byte is refused")
