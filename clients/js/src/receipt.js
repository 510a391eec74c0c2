// Receipts: a call record, the path from its transaction to a root, and the root's signature by the service.
//
//   call ┄▶ record ─▶ claims digest ┐
//           commit evidence         ├─▶ leaf ──path──▶ root ◀── node's signature      service's signature ──▶ node's certificate
//           write set digest        ┘
//
// A call of vats may settle in a later transaction than its own, or among others: the record, which has the form
// `input LF {"vats":{…,"settled":[{"call":3,"input":"64 hex","result":1},…]}}`, then has the digest of the call's input.
//
// The signature takes the root, a SHA-256, as the hash of its message. WebCrypto only verifies messages that it hashes itself;
// but the root is the hash of the last step of the path, so these 64 bytes (for an empty path: the leaf's parts) are the message.

import { concat, hex, sha256, unbase64, unhex, unpem, utf8 } from './bytes.js'

const PATH_MAX_STEPS = 63
const P384_BYTES = 48
const SEQUENCE = 0x30
const INTEGER = 0x02
const BIT_STRING = 0x03
const VERSION = 0xa0

/** A receipt that does not prove what the server answered. */
export class ReceiptError extends Error {
  name = 'ReceiptError'
}

const check = (holds, why) => { if (!holds) throw new ReceiptError(why) }

/**
 * Checks a receipt, saved or fresh, against a service's certificate, without asking anybody. What it proves: this transaction
 * with this record (the input, a line feed, the result) is in the ledger whose root this is; of a receipt with `call`, that the record
 * says what has come of that call.
 */
export async function verifyReceipt (receipt, serviceCert) {
  try {
    return await verify(receipt, serviceCert)
  } catch (error) {
    throw error instanceof ReceiptError ? error : new ReceiptError(`the receipt is malformed: ${error.message}`, { cause: error })
  }
}

async function verify (receipt, serviceCert) {
  const { leaf_components: leaf, proof, record, call } = receipt
  check(serviceCert, 'the certificate of the service is not known')
  check((receipt.service_cert ?? serviceCert).trim() === serviceCert.trim(), 'the receipt is of another service')
  const service = await certificate(serviceCert)
  const node = await certificate(receipt.cert)
  const endorsed = await verifies(service.key, 'SHA-384', node.signature, node.signed)
  check(endorsed, 'the certificate of the node is not signed by the service')
  check(receipt.node_id === hex(await sha256(node.spki)), 'the certificate is of another node')
  check(leaf.claims_digest === hex(await sha256(utf8(record))), 'the receipt is of another record')
  const [, transaction] = /^ce:(\d+\.\d+):[0-9a-f]{64}$/.exec(leaf.commit_evidence) ?? []
  check(transaction && transaction === receipt.transaction_id, 'the receipt is of another transaction')
  check(proof.length <= PATH_MAX_STEPS, 'the path is too long')
  let message = concat(digest(leaf.write_set_digest), await sha256(utf8(leaf.commit_evidence)), digest(leaf.claims_digest))
  let root = await sha256(message)
  for (const step of proof) {
    message = step.left === undefined ? concat(root, digest(step.right)) : concat(digest(step.left), root)
    root = await sha256(message)
  }
  check(await verifies(node.key, 'SHA-256', unbase64(receipt.signature), message), 'the signature is not one over the root')
  const results = call === undefined ? undefined : await answers(record, call)
  check(results === undefined || results.length > 0, 'the record of the receipt does not speak of its call')
  return { transaction, root: hex(root), record, ...(results && { call, results }) }
}

/** What a record says has come of a call of vats: of each, if the same was called twice, to the letter and the millisecond. */
async function answers (record, call) {
  const digest = hex(await sha256(utf8(call)))
  const { vats } = outcome(record)
  return (vats?.settled ?? []).filter(({ input }) => input === digest).map(({ result, error }) => (
    { ...(result !== undefined && { result }), ...(error && { error: { name: error[0], message: error[1] } }) }
  ))
}

/** What a record says its transaction came to. The arguments in it may hold line feeds, the result holds none. */
function outcome (record) {
  const recorded = JSON.parse(record.slice(record.lastIndexOf('\n') + 1))
  check(Object.keys(recorded ?? {}).length <= 1, 'the record of the receipt is malformed')
  return recorded ?? {}
}

/** Checks that a proof is one of what was called, and of what the server answered. `input` is the record's text up to the time. */
export function matchAnswer ({ record, call, results }, input, reply) {
  const text = call ?? record.slice(0, Math.max(record.lastIndexOf('\n'), 0))
  check(text.startsWith(input) && /^\d{1,16}\}$/.test(text.slice(input.length)), 'the receipt is of another call')
  const same = recorded => {
    // A summary of what vats did is no answer to anybody.
    if ('vats' in recorded) return false
    if (!reply.error) return !recorded.error && JSON.stringify(recorded.result) === JSON.stringify(reply.result)
    const { name, message } = recorded.error ?? {}
    return name === reply.error.message && message === reply.error.data
  }
  check((results ?? [outcome(record)]).some(same), 'the ledger has another result than the answer')
}

function digest (text) {
  const bytes = unhex(text)
  check(bytes.length === 32, 'a digest does not have 32 bytes')
  return bytes
}

async function verifies (key, hash, signature, message) {
  return crypto.subtle.verify({ name: 'ECDSA', hash }, key, rawSignature(signature), message)
}

/** DER to r ‖ s. */
function rawSignature (der) {
  const [r, s] = children(element(der, 0, SEQUENCE)).map(({ tag, content }) => {
    check(tag === INTEGER, 'a signature is not DER')
    const number = content[0] === 0 ? content.subarray(1) : content
    check(number.length <= P384_BYTES, 'a signature is too long')
    return concat(new Uint8Array(P384_BYTES - number.length), number)
  })
  return concat(r, s)
}

/** Of X.509: what was signed, the signature, and the key. */
async function certificate (pem) {
  const [body, , signature] = children(element(unpem(pem, 'CERTIFICATE'), 0, SEQUENCE))
  check(body.tag === SEQUENCE && signature.tag === BIT_STRING, 'a certificate is not X.509')
  const fields = children(body)
  // [version], serial number, algorithm, issuer, validity, subject, key
  const spki = fields[fields[0].tag === VERSION ? 6 : 5].bytes
  const key = await crypto.subtle.importKey('spki', spki, { name: 'ECDSA', namedCurve: 'P-384' }, true, ['verify'])
  return { signed: body.bytes, signature: signature.content.subarray(1), spki, key }
}

/** The DER element that begins at an offset. */
function element (bytes, at, expected) {
  const tag = bytes[at]
  let length = bytes[at + 1]
  let start = at + 2
  if (length >= 0x80) {
    const digits = bytes.subarray(start, start + (length & 0x7f))
    check(digits.length <= 3, 'an element is too long')
    length = digits.reduce((value, digit) => value * 256 + digit, 0)
    start += digits.length
  }
  const end = start + length
  check(end <= bytes.length && (expected ?? tag) === tag, 'it is not DER')
  return { tag, content: bytes.subarray(start, end), bytes: bytes.subarray(at, end), end }
}

function children ({ content }) {
  const elements = []
  for (let at = 0; at < content.length; at = elements.at(-1).end) elements.push(element(content, at))
  return elements
}
