// Each method takes more than it may have, or gives what cannot be given. All but the last three fail, each by a named error.
let pings = 0
const memory = []
exports.ping = () => ++pings
exports.dump = async () => {
  const files = await System.files.readdir('/', { recursive: true, stat: true })
  return { pings, memory, left: globalThis.left, files: files.map(({ name, stat }) => [name, stat.size, stat.mtime]) }
}
// Leaves a trace in the heap and in the archive before it goes wrong.
const trace = work => async () => {
  memory.push('trace')
  await System.files.writeFile('/trace', 'trace')
  await System.files.mkdir('/folder' + memory.length)
  globalThis.left = (globalThis.left || 0) + 1
  return work()
}
const cases = {
  loop () { for (;;); },
  loopOfPromises: async () => { for (;;) await null },
  loopOfJobs () { const again = () => queueMicrotask(again); again() },
  loopOfTimers: () => new Promise(() => setInterval(() => {}, 1)),
  recursion () { const f = () => f() + 1; return f() },
  recursionOfGetters () { const o = { get a () { return this.a } }; return o.a },
  recursionOfToJSON () { const o = { toJSON: () => ({ o }) }; return o },
  recursionOfProxies () { let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); return p.x },
  recursionOfAsync: async function f () { return await f() },
  recursionOfToString () { const o = { toString: () => '' + o }; return '' + o },
  nestedParse () { return JSON.parse('['.repeat(1e6) + ']'.repeat(1e6)) },
  nestedStringify () { let o = []; for (let i = 0; i < 1e6; i++) o = [o]; return o },
  nestedRegex () { return new RegExp('('.repeat(1e6) + ')'.repeat(1e6)).source.length },
  nestedEval () { return eval('('.repeat(1e6) + '1' + ')'.repeat(1e6)) },
  slowRegex () { return /^(a+)+$/.test('a'.repeat(40) + 'b') },
  slowSparse () { return [].indexOf.call({ length: 2 ** 32 - 1 }, 1) },
  slowSparseArray () { const a = []; a.length = 2 ** 32 - 1; return a.indexOf(1) },
  slowJoin () { const a = []; a.length = 2 ** 32 - 1; return a.join('') },
  slowFrom () { return Array.from({ length: 2 ** 32 - 1 }, () => 1) },
  slowReverse () { return Array.prototype.reverse.call({ length: 2 ** 53 - 1 }) },
  slowSort () { return Array.prototype.sort.call({ length: 2 ** 32 - 1 }) },
  slowBigInt () { let x = 3n; for (;;) x *= x },
  slowReplace () { return 'a'.repeat(1e6).replaceAll('', 'b'.repeat(1e3)).length },
  hogArrays () { const a = []; for (;;) a.push([a.length]) },
  hogString () { let s = 'x'; for (;;) s += s },
  hogStrings () { const a = []; for (;;) a.push('x'.repeat(1000) + a.length) },
  hogBuffer () { return new ArrayBuffer(2 ** 31) },
  hogBuffers () { const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1)) },
  hogMap () { const m = new Map(); for (let i = 0; ; i++) m.set(i, {}) },
  hogPromises () { const a = []; for (;;) a.push(new Promise(() => {})) },
  hogTimers () { for (;;) setTimeout(() => {}, 1) },
  hogClosures () { let f = () => {}; for (;;) { const g = f; f = () => g } },
  hogCaught () { const a = []; try { for (;;) a.push('x'.repeat(1e5)) } catch (e) { a.length = 0; throw new Error('caught ' + e.name) } },
  hogConsole () { const o = {}; for (let i = 0; i < 1e5; i++) o['key' + i] = 'x'.repeat(100); console.debug(o); throw new Error('still here') },
  hogFiles: async () => { for (let i = 0; ; i++) await System.files.writeFile('/f' + i, 'x'.repeat(1 << 20)) },
  never: () => new Promise(() => {}),
  neverThenable: () => ({ then () {} }),
  rejected: () => Promise.reject(new RangeError('rejected')),
  bigint: () => 10n,
  circular () { const a = []; a.push(a); return a },
  huge () { return 'x'.repeat(9 << 20) },
  hugeArray () { return new Array(3e6).fill(1234567) },
  resultGetterThrows: () => ({ get x () { throw new Error('from a getter') } }),
  resultToJSONThrows: () => ({ toJSON () { throw new TypeError('from toJSON') } }),
  resultProxyThrows: () => new Proxy({}, { get () { throw new Error('from a trap') }, ownKeys () { throw new Error('from ownKeys') } }),
  revoked () { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy },
  errorOfRecursion () { const f = () => { try { f() } catch (e) { return f() } }; return f() },
  surrogates: () => ['\ud800', '\udfff x', { '\ud800': 1 }],
  negativeZero: () => [-0, 1e400, -1e400, NaN, 5e-324],
  holes: () => [, , 1, ,]
}
for (const name in cases) exports[name] = trace(cases[name])
