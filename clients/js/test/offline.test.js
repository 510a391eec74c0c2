// Message bytes, keys and receipts against vectors that the crate `ledger` made. No backend is needed.

import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Key, callMessage, parseAddress, verifyReceipt } from '../src/index.js'
import { base64 } from '../src/bytes.js'
import { matchAnswer } from '../src/receipt.js'

const vectors = JSON.parse(readFileSync(new URL('vectors.json', import.meta.url)))
const { id, head, key, service_cert: serviceCert, calls } = vectors
const change = (text, at) => text.slice(0, at) + (text[at] === '0' ? '1' : '0') + text.slice(at + 1)

test('addresses', () => {
  for (const [text, url] of [
    ['localhost:5555', 'ws://localhost:5555/'],
    ['localhost', 'ws://localhost:5555/'],
    ['127.0.0.1:80/vm1', 'ws://127.0.0.1:80/vm1/'],
    ['ws://localhost:1/a/b/', 'ws://localhost:1/a/b/'],
    ['http://example.com/x?y#z', 'ws://example.com:5555/x/'],
    ['https://example.com', 'wss://example.com/'],
    ['[::1]:5556', 'ws://[::1]:5556/']
  ]) assert.equal(parseAddress(text), url)
  for (const text of ['', '/mount', 'ftp://x', 'a b:1']) assert.throws(() => parseAddress(text), /expected HOST:PORT/)
})

test('a call is signed as the backend expects', async () => {
  const signer = await Key.fromPem(key.pem)
  assert.equal(signer.publicHex, key.public)
  for (const { method, args, nonce, message, signature } of calls) {
    const bytes = callMessage({ backend: id, nonce, head, method, args })
    assert.equal(new TextDecoder().decode(bytes), message)
    assert.equal(base64(await signer.sign(bytes)), signature)
  }
})

test('keys as PEM', async () => {
  const made = await Key.generate()
  const pem = await made.toPem()
  assert.equal((await Key.fromPem(pem)).publicHex, made.publicHex)
  assert.match(pem, new RegExp(`^public key: ${made.publicHex}\n-----BEGIN PRIVATE KEY-----\n`))
  assert.equal(createPrivateKey(pem).asymmetricKeyType, 'ed25519')
  assert.equal(await (await Key.fromPem(key.pem)).toPem(), `public key: ${key.public}\n${key.pem}`)
  await assert.rejects(Key.fromPem('x'), /not the PEM text of a private key/)
  await assert.rejects(Key.fromPem('-----BEGIN ENCRYPTED PRIVATE KEY-----'), /has a passphrase/)
  await assert.rejects(Key.fromPem(key.pem.replace('AwBQ', 'AwBR')), /not an ed25519 key/)
})

test('receipts are believed', async () => {
  for (const { receipt, transaction } of calls) {
    const { root, record } = await verifyReceipt(receipt, serviceCert)
    assert.deepEqual({ transaction, root, record }, await verifyReceipt(receipt, receipt.service_cert))
    assert.equal(root, vectors.next_head.root)
  }
  await verifyReceipt(vectors.anonymous, serviceCert)
})

test('changed receipts are not', async () => {
  const [{ receipt }] = calls
  const leaf = receipt.leaf_components
  const refused = (changed, message) =>
    assert.rejects(verifyReceipt({ ...receipt, ...changed }, serviceCert), { name: 'ReceiptError', message })
  await refused({ record: receipt.record.replace('"result":1', '"result":2') }, /another record/)
  await refused({ transaction_id: '2.4' }, /another transaction/)
  await refused({ node_id: change(receipt.node_id, 5) }, /another node/)
  await refused({ cert: vectors.other_cert }, /not signed by the service/)
  await refused({ service_cert: vectors.other_cert }, /another service/)
  await refused({ leaf_components: { ...leaf, write_set_digest: change(leaf.write_set_digest, 9) } }, /not one over the root/)
  await refused({ leaf_components: { ...leaf, commit_evidence: change(leaf.commit_evidence, 20) } }, /not one over the root/)
  await refused({ proof: receipt.proof.slice(1) }, /not one over the root/)
  const swapped = receipt.proof.map(step => step.left ? { right: step.left } : { left: step.right })
  await refused({ proof: swapped }, /not one over the root/)
  await refused({ proof: [] }, /not one over the root/)
  await refused({ proof: Array(64).fill({ left: head.root }) }, /too long/)
  await refused({ signature: calls[0].signature }, /too long/)
  await refused({ signature: undefined, leaf_components: undefined }, /malformed/)
  for (const [any, cert] of [[receipt, vectors.other_cert], [receipt, undefined], [null, serviceCert]]) {
    await assert.rejects(verifyReceipt(any, cert), { name: 'ReceiptError' })
  }
  // Each byte of the signature counts.
  const bytes = Buffer.from(receipt.signature, 'base64')
  for (let at = 0; at < bytes.length; at++) {
    const flipped = Buffer.from(bytes)
    flipped[at] ^= 1
    await refused({ signature: flipped.toString('base64') }, /./)
  }
})

test('a record is that of the call and its answer', () => {
  const replies = [{ result: 1 }, {}, { error: { code: -32000, message: 'TypeError', data: 'größe' } }]
  for (const [i, { method, args, nonce, signature, receipt: { record } }] of calls.entries()) {
    const caller = `"caller":"${key.public}","nonce":"${nonce}","head":"${head.transaction}","signature":"${signature}",`
    const input = `{"call":${JSON.stringify(method)},"args":${args},${caller}"time":`
    for (const [j, reply] of replies.entries()) {
      if (i === j) matchAnswer({ record }, input, reply)
      else assert.throws(() => matchAnswer({ record }, input, reply), { name: 'ReceiptError', message: /another result/ })
    }
    const others = [input.replace('"call":"', '"call":"x'), input.replace(nonce, '9f86d081884c7d65.9'), '{"init":true,"time":']
    for (const other of others) {
      assert.throws(() => matchAnswer({ record }, other, replies[i]), { name: 'ReceiptError', message: /another call/ })
    }
  }
})

test('a record of vats answers nobody by itself', async () => {
  const call = '{"call":"add","args":[1],"time":7}'
  const input = '{"call":"add","args":[1],"time":'
  const summary = { cranks: 1, idle: true, activity: '0'.repeat(64) }
  const record = `${call}\n${JSON.stringify({ vats: summary })}`
  for (const reply of [{}, { result: 1 }, { result: summary }, { error: { message: 'Error', data: '' } }]) {
    assert.throws(() => matchAnswer({ record }, input, reply), { name: 'ReceiptError', message: /another result/ })
  }
  const results = [{ result: 1 }, { error: { name: 'Error', message: '' } }]
  matchAnswer({ record, call, results }, input, { result: 1 })
  matchAnswer({ record, call, results }, input, { error: { message: 'Error', data: '' } })
  for (const reply of [{}, { result: 2 }, { result: null }, { error: { message: 'Error', data: 'x' } }]) {
    assert.throws(() => matchAnswer({ record, call, results }, input, reply), { name: 'ReceiptError', message: /another result/ })
  }
  for (const other of [call.replace('add', 'sub'), `${call} `, call.replace('7}', '7,"x":1}')]) {
    assert.throws(() => matchAnswer({ record, call: other, results }, input, { result: 1 }), { message: /another call/ })
  }
})
