// Timers run on a clock of their own: nobody waits, and the order is that of the times.
let pings = 0
const late = []
exports.ping = () => ++pings
exports.dump = () => ({ pings, late })
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
exports.hour = async () => { const a = Date.now(); await sleep(3600e3); return Date.now() - a }
exports.weeks = async () => { for (let i = 0; i < 100; i++) await sleep(2 ** 31 - 1); return 'slept' }
exports.order = async () => {
  const order = []
  setTimeout(() => order.push('20'), 20)
  setTimeout(() => order.push('10a'), 10)
  setTimeout(() => order.push('10b'), 10)
  setTimeout(() => order.push('0'))
  setImmediate(() => order.push('immediate'))
  queueMicrotask(() => order.push('micro'))
  Promise.resolve().then(() => order.push('then'))
  order.push('sync')
  await sleep(30)
  return order.join(' ')
}
exports.interval = async () => {
  const at = []; const from = Date.now()
  await new Promise(resolve => { const id = setInterval(() => { at.push(Date.now() - from); if (at.length === 4) { clearInterval(id); resolve() } }, 7) })
  return at
}
exports.cleared = async () => { const id = setTimeout(() => late.push('cleared'), 1); clearTimeout(id); clearTimeout('nonsense'); clearTimeout(); await sleep(5); return late.length }
exports.arguments = async () => await new Promise(resolve => setTimeout((a, b) => resolve([a, b]), 1, 'a', 2))
exports.odd = async () => { const ids = [setTimeout(() => {}, NaN), setTimeout(() => {}, -1), setTimeout(() => {}, 'x'), setTimeout(() => {}, Infinity)]; await sleep(2); return ids.length }
exports.notAFunction = () => setTimeout('late.push(1)', 1)
exports.leftOver = () => { setTimeout(() => { late.push('left over'); System.files.writeFile('/late', 'x') }, 1); setInterval(() => late.push('interval'), 1); return 'returned' }
exports.leftOverAwait = () => { (async () => { await sleep(1); late.push('left over await') })(); return 'returned' }
exports.afterwards = async () => { await sleep(1000); return { late, files: await System.files.readdir('/') } }
exports.jobsOfReturned = () => { Promise.resolve().then(() => {}).then(() => late.push('a job runs within its call')); return 'returned' }
exports.clockWithin = async () => { const a = Date.now(); const b = new Date().getTime(); await sleep(50); return [b - a, Date.now() - a] }
exports.many = async () => { let n = 0; await Promise.all(Array.from({ length: 5000 }, (_, i) => sleep((i * 7919) % 1000).then(() => n++))); return n }
