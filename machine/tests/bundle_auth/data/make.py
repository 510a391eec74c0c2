"""Makes the files of this directory: keys and certificates with openssl, signed requests with ccf_cose_sign1, two tokens with
openssl. Run in an environment with `pip install ccf==6.0.28 'cbor2<6'`. The files differ each time; the tests do not mind."""

import base64
import datetime
import json
import os
import subprocess

from ccf.cose import create_cose_sign1, create_cose_sign1_finish, create_cose_sign1_prepare
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def run(*args, stdin=None):
    return subprocess.run(args, input=stdin, check=True, capture_output=True).stdout


def identity(name, curve):
    run("openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", f"{name}.key.pem")
    run("openssl", "req", "-x509", "-new", "-key", f"{name}.key.pem", "-out", f"{name}.cert.pem", "-subj", f"/CN={name}",
        "-days", "3650", "-sha384")


def dated(name, start, end):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(7).not_valid_before(start).not_valid_after(end).sign(key, hashes.SHA256()))
    open(f"{name}.cert.pem", "wb").write(cert.public_bytes(serialization.Encoding.PEM))


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(name, alg, kid, key):
    header = {"alg": alg, "typ": "JWT", "kid": kid}
    payload = {"iss": "https://issuer.example/", "exp": 4102444800, "sub": "zoë", "roles": ["b", "a"], "n": 1.5}
    signed = b64url(json.dumps(header).encode()) + b"." + b64url(json.dumps(payload).encode())
    signature = run("openssl", "dgst", "-sha256", "-sign", key, stdin=signed)
    if alg == "ES256":
        r, s = utils.decode_dss_signature(signature)
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    open(f"{name}.jwt", "wb").write(signed + b"." + b64url(signature))


for name, curve in [("user", "secp384r1"), ("other", "prime256v1"), ("p521", "secp521r1"), ("member", "secp384r1"),
                    ("member256", "prime256v1")]:
    identity(name, curve)
run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", "member.key.pem", "-out", "member.pkcs8.pem")
dated("long", datetime.datetime(1950, 1, 1), datetime.datetime(9999, 12, 31))
dated("past", datetime.datetime(2001, 1, 1), datetime.datetime(2002, 1, 1))
dated("future", datetime.datetime(2262, 4, 12), datetime.datetime(2262, 4, 16))

for name in ("rsa", "rsa2"):
    run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", f"{name}.key.pem")
    run("openssl", "req", "-x509", "-new", "-key", f"{name}.key.pem", "-out", f"{name}.cert.pem", "-subj", "/CN=issuer", "-days",
        "3650")
    run("openssl", "pkey", "-in", f"{name}.key.pem", "-pubout", "-outform", "DER", "-out", f"{name}.spki.der")
run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec.key.pem")
run("openssl", "pkey", "-in", "ec.key.pem", "-pubout", "-outform", "DER", "-out", "ec.spki.der")
token("rsa", "RS256", "kid-rsa", "rsa.key.pem")
token("ec", "ES256", "kid-ec", "ec.key.pem")

CREATED = "2026-11-22T10:00:00+00:00"
for name, signer, kind, proposal in [("proposal", "member", "proposal", None), ("proposal256", "member256", "proposal", None),
                                     ("ballot", "member", "ballot", "ab" * 32), ("ack", "member", "ack", None)]:
    about = ["--ccf-gov-msg-proposal_id", proposal] if proposal else []
    out = run("ccf_cose_sign1", "--content", "-", "--signing-cert", f"{signer}.cert.pem", "--signing-key", f"{signer}.key.pem",
              "--ccf-gov-msg-type", kind, "--ccf-gov-msg-created_at", CREATED, *about, stdin=b'{"actions": []}')
    open(f"{name}.cose", "wb").write(out)

# Signed elsewhere, as with a key in a vault: prepared, signed as a digest, finished.
cert = open("member.cert.pem").read()
header = {"ccf.gov.msg.type": "proposal", "ccf.gov.msg.created_at": 1795341600}
digest = base64.b64decode(create_cose_sign1_prepare(b"{}", cert, header)["value"])
key = serialization.load_pem_private_key(open("member.key.pem", "rb").read(), None)
r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA384()))))
signature = base64.urlsafe_b64encode(r.to_bytes(48, "big") + s.to_bytes(48, "big")).decode()
open("finished.cose", "wb").write(create_cose_sign1_finish(b"{}", cert, signature, header))

for name in ("user", "other", "p521"):
    pem = open(f"{name}.cert.pem").read()
    open(f"{name}.cose", "wb").write(create_cose_sign1(b"\x00\xffbody", open(f"{name}.key.pem").read(), pem, {}))
