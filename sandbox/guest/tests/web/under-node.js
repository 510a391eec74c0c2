// Runs case files under Node and prints what they print: `node under-node.js url.js`.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const util = require('node:util');

const load = (name) => (0, eval)(readFileSync(join(__dirname, name), 'utf8'));
let output = '';
const print = (text) => {
  output += text;
};
const cases = load('harness.js')(print, (value, options) => util.inspect(value, options), (values) => util.format(...values));
for (const name of process.argv.slice(2)) load(name)(cases);
process.stdout.write(output);
