// Chance and time are part of the call log: a replay rolls the same dice at the same moment.
const rolls = []
exports.roll = function () {
  rolls.push({ dice: 1 + Math.floor(Math.random() * 6), at: new Date().toISOString() })
  return rolls[rolls.length - 1]
}
exports.rolls = () => rolls
