// Whoever signs in is on the list, once. The host may strike names off it.
const fs = System.files
exports.init = async function () {
  await fs.writeFile('/guests', [], 'json')
}
exports.signIn = async function (message) {
  const id = System.caller.id
  if (!id) throw new Error('Please say who you are')
  const guests = await fs.readFile('/guests', 'json')
  if (guests.some(guest => guest.id === id)) throw new Error(`${id} is on the list already`)
  guests.push({ id, message })
  await fs.writeFile('/guests', guests, 'json')
  return guests.length
}
exports.strike = async function (id) {
  if (System.caller.id !== 'host') throw new Error('Only the host may do that')
  const guests = await fs.readFile('/guests', 'json')
  await fs.writeFile('/guests', guests.filter(guest => guest.id !== id), 'json')
}
exports.guests = () => fs.readFile('/guests', 'json')
