// Chance and time follow from the call log: a replay rolls the same dice at the same moment, and nobody has picked them.
const rolls = []
exports.roll = function () {
  rolls.push({ dice: 1 + Math.floor(Math.random() * 6), at: new Date().toISOString() })
  return rolls[rolls.length - 1]
}
exports.rolls = () => rolls
