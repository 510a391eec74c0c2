"""Validates a ledger folder with the public package ccf and prints how many transactions, signatures and chunks it has.

validate.py FOLDER           exit 0 if it is valid
validate.py FOLDER refused   exit 0 if it is refused; prints the class of the refusal
"""

import sys

import ccf.ledger

folder, refused = sys.argv[1], sys.argv[2:] == ["refused"]
validator = ccf.ledger.LedgerValidator(accept_deprecated_entry_types=False)
transactions = chunks = 0
try:
    for chunk in ccf.ledger.Ledger([folder], committed_only=False):
        chunks += 1
        for transaction in chunk:
            validator.add_transaction(transaction)
            transactions += 1
except Exception as error:
    if not refused:
        raise
    print(type(error).__name__)
    sys.exit(0)
if refused:
    sys.exit("a changed ledger was accepted")
assert validator.service_status == "Open"
assert validator.last_verified_seqno == transactions, (validator.last_verified_seqno, transactions)
print(transactions, validator.signature_count, chunks)
