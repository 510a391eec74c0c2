// A directory of public keys, as an ES module: what it exports are the methods.
const { readFile, writeFile, mkdir, readdir, unlink } = System.files

export async function init () {
  await mkdir('/keys')
}

export async function publish (key) {
  const id = whoCalls()
  if (!/^[0-9a-f]{64}$/.test(key)) throw new TypeError('A key has 64 hexadecimal digits')
  await writeFile(`/keys/${id}`, key)
}

export async function lookup (id) {
  return readFile(`/keys/${name(id)}`, 'utf8')
}

export async function revoke () {
  await unlink(`/keys/${whoCalls()}`)
}

export const list = () => readdir('/keys')

function whoCalls () {
  if (!System.caller.id) throw new Error('Please say who you are')
  return name(System.caller.id)
}

function name (id) {
  if (!/^[a-z0-9]+$/.test(id)) throw new TypeError(`${id} is no name`)
  return id
}
