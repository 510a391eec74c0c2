// Against a real backend: the command in the environment variable GLASSBOX, e.g. target/release/glassbox. Without it, skipped.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { Key, connect, verifyReceipt } from '../src/index.js'
import { matchAnswer } from '../src/receipt.js'

const SCRIPT = `
let count = 0
exports.increment = (by = 1) => count += by
exports.echo = x => x
exports.who = () => System.caller.id
exports.fail = () => { throw new TypeError('größe') }
exports.then = () => 'then'
exports.call = () => 'call'
`

const BOOTSTRAP = `
import { E, Far } from '@endo/far'
export const buildRootObject = () => Far('root', { bootstrap: vats => E(vats.http).register(vats.bank) })
`
const BANK = `
import { Far } from '@endo/far'
export const buildRootObject = () => {
  let total = 0
  const waiting = []
  return Far('root', {
    add: n => total += n,
    nothing () {},
    nil: () => null,
    fail () { throw new RangeError('größe') },
    promise: () => new Promise(resolve => waiting.push(resolve)),
    waiting: () => waiting.length,
    release (value) { for (const resolve of waiting.splice(0)) resolve(value) }
  })
}
`

/** A folder with a script. `serve` starts a backend on it, which ends with the test. */
const place = t => folder(t, { 'counter.js': SCRIPT }, 'exec', 'counter.js')

/** The same with vats. */
const vats = t => folder(t, { 'bootstrap.js': BOOTSTRAP, 'vat-bank.js': BANK }, 'vat', 'serve', '.', '--dir', 'kept')

function folder (t, files, ...command) {
  const folder = mkdtempSync(join(tmpdir(), 'glassbox-client-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return async function serve (...flags) {
    const child = spawn(resolve(process.env.GLASSBOX), [...command, ...flags], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(child, 'exit')
    t.after(async () => { child.kill('SIGKILL'); await ended })
    for await (const line of createInterface({ input: child.stdout })) {
      const [, address] = /^Serving at (localhost:\d+)/.exec(line) ?? []
      if (address) return { address, stop: async () => { child.kill(); await ended } }
    }
    throw new Error('the backend does not start')
  }
}

const backend = (name, run) => test(name, { skip: !process.env.GLASSBOX, timeout: 60_000 }, run)

backend('anonymous calls', async t => {
  const { address } = await place(t)('-p', '0')
  const client = await connect(address)
  assert.deepEqual(client.info.methods, ['increment', 'echo', 'who', 'fail', 'then', 'call'])
  assert.equal(await client.increment(), 1)
  assert.equal(await client.increment(2), 3)
  for (const value of [null, '~x', { a: ['größe', '\u2028', 1e21] }, 'x'.repeat(70_000), 'x'.repeat(3_000_000)]) {
    assert.deepEqual(await client.echo(value), value)
  }
  assert.equal(await client.echo(), undefined)
  await assert.rejects(client.fail(), { name: 'TypeError', message: 'größe' })
  await assert.rejects(client.call('nothing'), { name: 'Method not found' })
  assert.deepEqual([(await client.call('then')).result, (await client.call('call')).result], ['then', 'call'])
  assert.deepEqual((await Promise.all(Array.from({ length: 100 }, () => client.increment()))).at(-1), 103)
  client.close()
  await assert.rejects(client.increment(), { name: 'ConnectionClosedError' })
})

backend('callers with a name', async t => {
  const { address } = await place(t)('-p', '0', '--debug')
  const client = await connect(address, { user: 'bob' })
  assert.equal(await client.who(), 'bob')
  client.close()
})

backend('a backend that goes away', async t => {
  const { address, stop } = await place(t)('-p', '0')
  const client = await connect(address)
  const closed = once(client, 'close')
  await stop()
  await closed
  await assert.rejects(client.increment(), { name: 'ConnectionClosedError' })
  await assert.rejects(connect(address), { name: 'ConnectionError' })
})

backend('signed calls with receipts', async t => {
  const { address } = await place(t)('-p', '0')
  const key = await Key.generate()
  const client = await connect(address, { key, receipts: true })
  assert.equal(await client.who(), key.publicHex)
  const { result, receipt, transaction } = await client.call('increment', [41])
  assert.equal(result, 41)
  assert.deepEqual(client.receipts.at(-1), receipt)
  const proof = await verifyReceipt(JSON.parse(JSON.stringify(receipt)), client.info.serviceCert)
  assert.equal(proof.transaction, transaction)
  assert.match(proof.record, /"args":\[41\],.*\n\{"result":41\}$/)
  const error = await client.fail().catch(error => error)
  assert.deepEqual([error.name, error.message, error.receipt.transaction_id], ['TypeError', 'größe', error.transaction])
  // Many at once: their counters arrive in order.
  const results = await Promise.all(Array.from({ length: 20 }, () => client.increment()))
  assert.deepEqual(results, Array.from({ length: 20 }, (_, i) => 42 + i))
  assert.equal(client.receipts.length, 23)
  // The next call is made after a head that covers the one before.
  assert.ok(Number(client.head.transaction.split('.')[1]) > Number(transaction.split('.')[1]))
  client.close()
})

backend('receipts of anonymous calls', async t => {
  const { address } = await place(t)('-p', '0')
  const client = await connect(address)
  assert.equal((await client.call('increment', [], { receipt: true })).receipt.record.split('\n')[1], '{"result":1}')
  client.close()
})

backend('receipts of calls of vats', async t => {
  const { address } = await vats(t)('-p', '0')
  let client = await connect(address, { receipts: true })
  // It is served before all of `bootstrap` is done.
  for (; !client.info.methods.length; client = await connect(address, { receipts: true })) client.close()
  const { serviceCert } = client.info
  assert.deepEqual([await client.add(1), await client.nothing(), await client.nil()], [1, undefined, null])
  const error = await client.fail().catch(error => error)
  assert.deepEqual([error.name, error.message, error.receipt.transaction_id], ['RangeError', 'größe', error.transaction])
  const proof = await verifyReceipt(error.receipt, serviceCert)
  assert.deepEqual(proof.results, [{ error: { name: 'RangeError', message: 'größe' } }])
  assert.match(proof.call, /^\{"call":"fail","args":\[\],"time":\d+\}$/)

  // Two that settle in the transaction of a third call; they are signed, and by another connection.
  const key = await Key.generate()
  const signed = await connect(address, { key, receipts: true })
  const promises = [signed.call('promise', [1]), signed.call('promise', [2])]
  while (await client.waiting() < 2);
  const { transaction } = await client.call('release', ['free'])
  const answers = await Promise.all(promises)
  assert.deepEqual(answers.map(({ result }) => result), ['free', 'free'])
  assert.deepEqual(answers.map(answer => answer.transaction), [transaction, transaction])
  for (const [i, { receipt }] of answers.entries()) {
    const { call, record, results } = await verifyReceipt(receipt, serviceCert)
    assert.ok(call.startsWith(`{"call":"promise","args":[${i + 1}],"caller":"${key.publicHex}",`))
    assert.ok(record.startsWith('{"call":"release","args":["free"],'))
    assert.deepEqual(results, [{ result: 'free' }])
  }
  assert.deepEqual(await Promise.all(Array.from({ length: 20 }, () => signed.add(1))), Array.from({ length: 20 }, (_, i) => 2 + i))
  assert.equal(signed.receipts.length, 22)

  // A receipt of another call, and changed ones.
  const [{ receipt }] = answers
  const refused = (changed, message) => assert.rejects(verifyReceipt({ ...receipt, ...changed }, serviceCert), { name: 'ReceiptError', message })
  await refused({ call: proof.call }, /does not speak of its call/)
  await refused({ call: receipt.call.replace('[1]', '[3]') }, /does not speak of its call/)
  await refused({ record: receipt.record.replaceAll('"free"', '"paid"') }, /another record/)
  await refused({ record: error.receipt.record }, /another record/)
  const good = await verifyReceipt(receipt, serviceCert)
  const input = receipt.call.replace(/\d+\}$/, '')
  matchAnswer(good, input, { result: 'free' })
  for (const reply of [{}, { result: 'paid' }, { result: null }, { error: { message: 'Error', data: '' } }]) {
    assert.throws(() => matchAnswer(good, input, reply), { name: 'ReceiptError', message: /another result/ })
  }
  assert.throws(() => matchAnswer(good, answers[1].receipt.call.replace(/\d+\}$/, ''), { result: 'free' }), /another call/)
  const { call, ...bare } = receipt
  assert.throws(() => matchAnswer(bare, input, { result: 'free' }), /another call/)
  client.close()
  signed.close()
})

backend('a store recognizes a backend, and another one in its place', async t => {
  const key = await Key.generate()
  const store = new Map()
  const serve = place(t)
  const first = await serve('-p', '0')
  const client = await connect(first.address, { key, store })
  await client.increment()
  client.close()
  await first.stop()
  const port = first.address.split(':')[1]
  const again = await serve('-p', port)
  const second = await connect(first.address, { key, store, receipts: true })
  await second.increment()
  second.close()
  await again.stop()
  await place(t)('-p', port)
  await assert.rejects(connect(first.address, { key, store }), { name: 'IdentityError' })
  const [[address, known]] = store
  const forked = JSON.stringify({ ...JSON.parse(known), id: undefined, serviceCert: undefined })
  await assert.rejects(connect(first.address, { key, store: new Map([[address, forked]]) }), { name: 'ForkedLedgerError' })
})
