// Drives a backend with nodevms-client, as its users do. `node nodevms.js URL debug|plain`; prints what differs and exits 1.
const assert = require('assert')
const Client = require('nodevms-client')

const [url, mode] = process.argv.slice(2)
const HEX = /^(hyper|dat):\/\/[0-9a-f]{64}$/

async function connect (user) {
  const client = new Client({ timeout: 60000 })
  await client.connect(url, user === undefined ? undefined : { user })
  return client
}

// What a rejected call was rejected with.
async function refusal (promise) {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('the call should have failed')
}

// Every kind of value, out and back.
const VALUES = [
  0, -1.5, 1e21, true, false, null, '', 'text', [], {}, [1, [2, [3]]], { a: { b: { c: null } } },
  '~', '~x', 'a~b', 'a~b~c', '~~', '~a~b', '\\~', '~\\', '"~"', '~"', '\\x7e', 'a\\x7e', '~\\x7e', '\\\\x7e', '[Circular]',
  ['~', '~0', 'x~'], { '~key': '~value', 'a~b~c': 'a~b~c', '\\x7e': 1 },
  'größe', '日本語', '👩‍👩‍👧 \u0000\u0001\u001f\u007f\u2028\u2029\ufeff', '\\', '"', '/', '\n\r\t', { 'ключ': ['значение'] },
  { __proto__: null, toString: 1, constructor: 2 }, 'x'.repeat(300000)
]

async function main () {
  const client = await connect()
  assert.deepStrictEqual(client.backendInfo.methods,
    ['echo', 'nothing', 'func', 'symbol', 'throwError', 'throwType', 'throwString', 'count', 'slow', 'who', 'dates'])
  assert.match(client.backendInfo.callLogUrl, HEX)
  assert.match(client.backendInfo.filesArchiveUrl, HEX)
  assert.notStrictEqual(client.backendInfo.callLogUrl, client.backendInfo.filesArchiveUrl)
  assert.strictEqual(client.init, undefined)

  for (const value of VALUES) {
    // A copy without prototypes: what JSON keeps of it.
    const kept = JSON.parse(JSON.stringify(value))
    assert.deepStrictEqual(await client.echo(value), kept)
    assert.deepStrictEqual(await client.echo([value, value]), [kept, kept])
  }
  assert.deepStrictEqual(await client.echo('~first', 2), '~first')
  assert.strictEqual(await client.echo(), undefined)
  assert.strictEqual(await client.echo(undefined), null)
  assert.strictEqual(await client.echo(NaN), null)
  const shared = { a: 1 }
  assert.deepStrictEqual(await client.echo({ x: shared, y: shared }), { x: { a: 1 }, y: { a: 1 } })

  assert.strictEqual(await client.nothing(), undefined)
  assert.strictEqual(await client.func(), undefined)
  assert.strictEqual(await client.symbol(), undefined)
  assert.deepStrictEqual(await client.dates(), { nan: null, date: '1970-01-01T00:00:00.000Z', map: {}, set: {}, bytes: { 0: 1, 1: 2 } })

  assert.deepStrictEqual(await refusal(client.throwError('~ why ~')), { code: -32000, message: 'Error', data: '~ why ~' })
  assert.deepStrictEqual(await refusal(client.throwType()), { code: -32000, message: 'TypeError', data: 'größe' })
  assert.deepStrictEqual(await refusal(client.throwString()), { code: -32000, message: 'ThrownValue', data: 'a string' })

  // Many at once: in the order in which they were sent.
  const first = await client.count('a')
  const many = []
  for (let i = 0; i < 500; i++) many.push(client.count('a'))
  assert.deepStrictEqual(await Promise.all(many), many.map((_, i) => first + i + 1))

  // More than may wait: the rest is refused, by name.
  const flood = [client.slow()]
  for (let i = 0; i < 1500; i++) flood.push(client.count('b'))
  const settled = await Promise.allSettled(flood)
  const refused = settled.filter(one => one.status === 'rejected')
  for (const one of refused) {
    assert.deepStrictEqual(one.reason,
      { code: -32000, message: 'Error', data: 'Too many active requests. Try again in a few minutes.' })
  }
  const counts = settled.filter(one => one.status === 'fulfilled').slice(1).map(one => one.value)
  assert.deepStrictEqual(counts, counts.map((_, i) => i + 1))
  assert.ok(counts.length >= 1000 && refused.length > 0, `${counts.length} ran, ${refused.length} were refused`)
  assert.strictEqual(await client.count('b'), counts.length + 1)

  const bob = await connect('bob')
  assert.strictEqual(await bob.who(), mode === 'debug' ? 'bob' : null)
  assert.strictEqual(await client.who(), null)
  bob.close()
  client.close()
}

main().catch(error => {
  console.error(error)
  process.exitCode = 1
}).finally(() => setTimeout(() => process.exit(), 50))
