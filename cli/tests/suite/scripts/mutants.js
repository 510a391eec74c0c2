// Breaks the builtins for good; what is called later must still work, as far as it does not itself use what is broken.
let pings = 0
exports.ping = () => ++pings
exports.dump = async () => ({ pings, files: await System.files.readdir('/') })
exports.work = async (n) => {
  const old = await System.files.readFile('/work', 'json')
  await System.files.writeFile('/work', { n, old: old ? old.n : null }, 'json')
  const { size } = await System.files.stat('/work')
  const [last] = await System.files.history({ reverse: true })
  const entries = await System.files.readdir('/', { stat: true })
  await new Promise(resolve => setTimeout(resolve, 10))
  console.debug('work', { n }, [n])
  return { n, size, last, entries: entries.length, caller: System.caller.id, title: (await System.files.getInfo()).title }
}
exports.fail = async () => { await System.files.writeFile('/fail', '1'); throw new TypeError('fails') }
exports.files = async () => { const errors = []; for (const path of ['/none', '/%', '/`']) await System.files.readFile(path).catch(e => { errors[errors.length] = e.name }); return errors.length }
const hostile = () => { throw new Error('hostile') }
const mutations = {
  array () { for (const name of ['map', 'push', 'pop', 'slice', 'splice', 'concat', 'join', 'indexOf', 'forEach', 'shift', 'sort', 'includes', 'filter', 'reduce', 'toString']) Array.prototype[name] = hostile },
  string () { for (const name of ['concat', 'slice', 'replace', 'replaceAll', 'split', 'indexOf', 'repeat', 'isWellFormed', 'toWellFormed', 'charCodeAt', 'padStart', 'startsWith', 'includes', 'trim', 'toString', 'valueOf']) String.prototype[name] = hostile },
  promise () { Promise.resolve = Promise.reject = Promise.all = hostile; globalThis.Promise = class Mine extends Promise {} },
  json () { JSON.stringify = JSON.parse = hostile; globalThis.JSON = null },
  object () { for (const name of ['defineProperty', 'freeze', 'keys', 'create', 'entries', 'assign', 'getPrototypeOf', 'getOwnPropertyDescriptor', 'getOwnPropertyNames']) Object[name] = hostile },
  setters () { for (const name of ['name', 'message', 'stack', 'id', 'due', 'size', 'encoding', 'value']) Object.defineProperty(Object.prototype, name, { set: hostile, get: () => undefined, configurable: true }) },
  indexSetters () { for (const i of [0, 1, 2]) Object.defineProperty(Array.prototype, i, { set: hostile, get: () => undefined, configurable: true }) },
  math () { Math.floor = Math.ceil = Math.random = hostile; globalThis.Math = null; globalThis.Date = null },
  collections () { for (const name of ['get', 'set', 'has', 'add', 'delete']) Map.prototype[name] = Set.prototype[name] = WeakMap.prototype[name] = hostile },
  functions () { Function.prototype.call = Function.prototype.apply = Function.prototype.bind = hostile; Reflect.apply = Reflect.ownKeys = hostile },
  errors () { Error.prototype.toString = hostile; globalThis.Error = globalThis.TypeError = globalThis.RangeError = null },
  symbols () { Symbol.prototype.toString = hostile; globalThis.Symbol = null },
  iterator () { Array.prototype[Object.getOwnPropertySymbols(Array.prototype)[0]] = hostile },
  then () { (async () => {})().constructor.prototype.then = hostile },
  species () { Object.defineProperty([].constructor, Object.getOwnPropertySymbols([].constructor)[0], { get: hostile }) },
  globals () { globalThis.Uint8Array = globalThis.ArrayBuffer = globalThis.Array = globalThis.Object = globalThis.String = globalThis.console = null }
}
for (const name in mutations) exports['break_' + name] = () => { mutations[name](); return 'broken' }
exports.deleteGlobals = () => { for (const name of Reflect.ownKeys ? Object.getOwnPropertyNames(globalThis) : []) try { delete globalThis[name] } catch {} return 'gone' }
