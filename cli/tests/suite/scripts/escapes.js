// Looks for a way out. What is found is returned, so that it stands in the transcript.
let pings = 0
exports.ping = () => ++pings
exports.dump = () => ({ pings })
const attempt = f => { try { const v = f(); return typeof v === 'object' || typeof v === 'function' ? Object.prototype.toString.call(v) : String(v) } catch (e) { return e.name + ': ' + e.message } }
exports.process = () => [
  () => System.constructor.constructor('return process')().version,
  () => console.constructor.constructor('return process.env.HOME')(),
  () => System.files.stat.constructor('return process.mainModule.require("fs").readdirSync("/").join()')(),
  () => System.files.readFile.constructor.constructor('return this.process')(),
  () => (async () => {}).constructor('return process')(),
  () => (function * () {}).constructor('return process')().next().value,
  () => process.exit(1),
  () => this.constructor.constructor('return globalThis.process')(),
  () => new Error().stack.constructor.constructor('return process')(),
  () => require('fs'),
  () => module.constructor._load('fs'),
  () => exports.constructor.constructor('return require')(),
  () => (0, eval)('this').process,
  () => Reflect.construct(Function, ['return typeof std + typeof os + typeof bjson'])(),
  () => eval('import.meta')
].map(attempt).concat([])
exports.dynamicImport = async () => {
  const found = []
  for (const name of ['fs', 'node:fs', 'std', 'os', './escapes.js', '/etc/passwd', 'glassbox:files', 'http://127.0.0.1/x.js']) {
    try { found.push(await import(name)) } catch (e) { found.push(e.name + ': ' + e.message) }
  }
  return found
}
exports.absent = () => ['process', 'require', 'global', 'Buffer', 'fetch', 'WeakRef', 'FinalizationRegistry', 'Intl', 'WebAssembly', 'Atomics', 'SharedArrayBuffer',
  'performance', 'navigator', 'gc', 'print', 'std', 'os', 'bjson', 'Worker', 'XMLHttpRequest', 'WebSocket', 'crypto', 'Deno', 'Bun', 'window', 'self', 'document',
  'scriptArgs', '__loadScript', 'native', 'host', 'runtime', 'client'].filter(name => name in globalThis || attempt(() => eval('typeof ' + name)) !== 'undefined')
exports.globals = () => Object.getOwnPropertyNames(globalThis).filter(name => !/^[A-Z]\w*(Error|Array)$/.test(name)).sort().join(' ')
exports.sharedMemory = () => attempt(() => new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }))
exports.frozen = () => [
  () => { 'use strict'; System.caller.id = 'root'; return System.caller.id },
  () => { 'use strict'; System.files.readFile = () => 'fake'; return 'replaced' },
  () => { 'use strict'; System.caller = { id: 'root' }; return 'replaced' },
  () => { 'use strict'; globalThis.System = null; return 'replaced' },
  () => { Object.defineProperty(System, 'caller', { value: 1 }); return 'replaced' },
  () => Object.getPrototypeOf(System) === Object.prototype
].map(attempt)
exports.callerGetter = () => {
  const get = Object.getOwnPropertyDescriptor(System.caller, 'id').get
  return attempt(() => get.constructor('return this')() === globalThis)
}
exports.stacks = () => new Error().stack.split('\n').filter(line => !line.includes('escapes.js'))
exports.callerOfCallee = () => { function f () { return f.caller } return attempt(() => f()) }
exports.hostArguments = () => attempt(() => { const log = console.log; log.call(null, { toString () { throw new Error('x') } }); return 'ok' })
exports.time = () => {
  const a = Date.now(); for (let i = 0; i < 1e5; i++); const b = Date.now()
  return [b - a, new Date().getTimezoneOffset(), new Date(0).toString(), new Date(2026, 0, 1).toISOString(), new Date(0).toLocaleString(), (1234.5).toLocaleString(), 'ä'.localeCompare('z'), new Date(0).toLocaleTimeString('de-DE', { timeZone: 'Asia/Tokyo' })]
}
exports.chance = () => [Math.random() === Math.random(), Math.random() >= 0 && Math.random() < 1]
exports.sinks = () => [Math.sin(1e22), Math.pow(1.1, 1000.5), Math.exp(1.5), Math.tan(1.57), Math.cbrt(2), (0.1).toString(3), 1e21 + 1, Math.hypot(3, 4.5), Math.atan2(-0, -0)]
