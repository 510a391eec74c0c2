// Everything that can be thrown, thrown.
let pings = 0
exports.ping = () => ++pings
exports.dump = async () => ({ pings, files: await System.files.readdir('/') })
const thrown = {
  text: () => 'a string',
  empty: () => '',
  number: () => 42,
  null: () => null,
  undefined: () => undefined,
  bigint: () => 10n,
  symbol: () => Symbol('sym'),
  array: () => [1, [2]],
  object: () => ({ code: 7, foo: 'bar' }),
  named: () => ({ name: 'MyError', message: 'my message' }),
  nameOnly: () => ({ name: 'OnlyName' }),
  error: () => new Error('message'),
  noMessage: () => new Error(),
  subclass: () => new (class QuotaError extends RangeError { get name () { return 'QuotaError' } })('over'),
  frozen: () => Object.freeze(new TypeError('frozen')),
  renamed: () => Object.assign(new Error('m'), { name: 'Renamed' }),
  oddName: () => Object.assign(new Error('m'), { name: { toString () { throw 1 } } }),
  oddMessage: () => Object.assign(new Error('m'), { message: 7 }),
  oddStack: () => Object.assign(new Error('m'), { stack: { length: 1e9 } }),
  longMessage: () => new Error('x'.repeat(1e6)),
  longName: () => Object.assign(new Error('m'), { name: 'N'.repeat(1e5) }),
  unicode: () => new Error('größe 日本 \ud800 \u0000 ~'),
  aggregate: () => new AggregateError([new Error('a')], 'several'),
  cause: () => new Error('outer', { cause: new Error('inner') }),
  proxy: () => new Proxy(new Error('behind a proxy'), {}),
  hostileProxy: () => new Proxy({}, new Proxy({}, { get () { throw new Error('trap') } })),
  revokedProxy () { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy },
  getters: () => ({ get name () { throw 1 }, get message () { throw 2 }, get stack () { throw 3 } }),
  endlessGetter: () => ({ get name () { return this.name } }),
  endlessLoopInGetter: () => ({ get name () { for (;;); } }),
  func: () => () => 1,
  classItself: () => class Foo {},
  promise: () => Promise.resolve(1),
  circular () { const o = { a: [] }; o.a.push(o); return o },
  nullProto: () => Object.create(null),
  date: () => new Date(0),
  map: () => new Map([[1, 2]]),
  bytes: () => new Uint8Array(3)
}
for (const name in thrown) exports[name] = async () => { await System.files.writeFile('/' + name, 'x'); throw thrown[name]() }
exports.inTimer = () => new Promise(() => setTimeout(() => { throw new Error('in a timer') }, 5))
exports.inJob = () => { queueMicrotask(() => { throw new Error('in a job') }); return 'done' }
exports.unhandled = () => { Promise.reject(new Error('nobody sees it')); return 'done' }
exports.synchronous = () => { throw new Error('at once') }
exports.fromFinally = async () => { try { throw new Error('first') } finally { throw new Error('second') } }
exports.prepared = () => { Error.prepareStackTrace = () => { throw new Error('prepared') }; throw new Error('m') }
