// One method of the archive for each call.
let pings = 0
exports.ping = () => ++pings
exports.dump = async () => {
  const files = await System.files.readdir('/', { recursive: true, stat: true })
  const contents = []
  for (const { name, stat } of files) contents.push([name, stat.isFile() ? await System.files.readFile(name, 'hex') : null])
  return { pings, contents, history: await System.files.history() }
}
exports.init = async () => {
  await System.files.mkdir('/folder')
  await System.files.mkdir('/folder/sub')
  await System.files.mkdir('/empty')
  await System.files.writeFile('/text', 'größe ~')
  await System.files.writeFile('/folder/a', 'a')
  await System.files.writeFile('/folder/sub/y', 'y')
  await System.files.writeFile('/bytes', new Uint8Array([0, 127, 128, 255]))
}
// Arguments that JSON cannot say stand as {"$": "JavaScript"}.
const revive = arg => arg !== null && typeof arg === 'object' && '$' in arg ? eval('(' + arg.$ + ')') : arg
const shown = value => {
  if (value instanceof Uint8Array) return { bytes: [...value] }
  if (value && value.mtime !== undefined && value.ino !== undefined) {
    const { size, mode, blocks, mtime, ctime } = value
    return { size, mode, blocks, file: value.isFile(), directory: value.isDirectory(), times: mtime >= ctime && mtime <= Date.now(), fields: Object.keys(value).join(' ') }
  }
  if (value && value.key) return { ...value, key: value.key.length, url: value.url.replace(value.key, 'KEY') }
  if (Array.isArray(value)) return value.map(one => one && one.stat ? { name: one.name, size: one.stat.size } : one)
  return value
}
exports.op = async (method, ...args) => {
  try {
    return shown(await System.files[method](...args.map(revive)))
  } catch (e) {
    const flags = Object.keys(e).filter(key => e[key] === true)
    e.message = [e.message, e instanceof Error ? '' : 'no Error', ...flags].filter(Boolean).join(' | ')
    throw e
  }
}
// Several in one call, which then fails or not.
exports.several = async (fail, ...ops) => {
  const results = []
  for (const [method, ...args] of ops) results.push(shown(await System.files[method](...args.map(revive))))
  if (fail) throw new Error('fails after ' + results.length)
  return results
}
exports.unawaited = () => { System.files.writeFile('/unawaited', 'written'); return 'returned' }
exports.mutates = (list, object) => { list.push('mutated'); object.x = 'mutated'; delete object.y; arguments_ = list; return [list, object] }
var arguments_
