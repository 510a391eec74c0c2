// What no replay can know, an oracle asks the world outside. Its function runs once, on the operator's machine. What it returns
// goes into the call log, and replays take it from there. Everybody sees the answer, and has to trust the operator for it.
const answers = []
async function ask (fn) {
  const answer = await System.oracle(fn)
  answers.push(answer)
  return answer
}
exports.random = () => ask(() => Math.random())
exports.time = () => ask(() => new Date().toISOString())
// The operator allows hosts: glassbox exec oracle.js --allow-net api.example.org
exports.get = url => ask(async () => {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`)
  return response.json()
})
exports.answers = () => answers
