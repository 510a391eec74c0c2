// Money moves from account to account. A call that fails changes nothing, even if it fails halfway.
const fs = System.files
let transfers = 0
exports.init = async function () {
  await fs.mkdir('/accounts')
}
exports.deposit = async function (name, amount) {
  return change(name, amount)
}
exports.transfer = async function (from, to, amount) {
  transfers++
  await change(to, amount)
  await change(from, -amount)
  return transfers
}
exports.balance = async function (name) {
  return (await fs.readFile(`/accounts/${name}`, 'json')) ?? 0
}
async function change (name, amount) {
  const balance = (await exports.balance(name)) + amount
  if (balance < 0) throw new RangeError(`${name} cannot afford that`)
  await fs.writeFile(`/accounts/${name}`, balance)
  return balance
}
