// The tutorial's counter: its memory is part of the audited state.
var i = 0
exports.increment = function () {
  i++
  return i
}
