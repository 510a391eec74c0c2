// Everybody may vote once, and change his mind. Who signs his calls cannot be voted for by others.
const votes = new Map()
exports.vote = function (choice) {
  const id = System.caller.id
  if (!id) throw new Error('Sign your call: glassbox key new')
  if (!['yes', 'no'].includes(choice)) throw new RangeError('Vote yes or no')
  votes.set(id, choice)
  return votes.size
}
// Only reads: answered beside the calls, at once, and no transaction.
exports.count = function () {
  const count = { yes: 0, no: 0 }
  for (const choice of votes.values()) count[choice]++
  return count
}
exports.count.readonly = true
