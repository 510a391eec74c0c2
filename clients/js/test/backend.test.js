// Against a real backend: the command in the environment variable GLASSBOX, e.g. target/release/glassbox. Without it, skipped.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { Key, connect, verifyReceipt } from '../src/index.js'

const SCRIPT = `
let count = 0
exports.increment = (by = 1) => count += by
exports.echo = x => x
exports.who = () => System.caller.id
exports.fail = () => { throw new TypeError('größe') }
exports.then = () => 'then'
exports.call = () => 'call'
`

/** A folder with a script. `serve` starts a backend on it, which ends with the test. */
function place (t) {
  const folder = mkdtempSync(join(tmpdir(), 'glassbox-client-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const script = join(folder, 'counter.js')
  writeFileSync(script, SCRIPT)
  return async function serve (...flags) {
    const child = spawn(process.env.GLASSBOX, ['exec', script, ...flags], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
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
