// Runs the cases of a file, under the sandbox and under Node alike. `print` takes one case's text.
//
// A case is a name and a function; its text is what the function returns, or the error it throws. `differs` marks a
// case whose answer is not Node's, with the reason: its golden text is compared, but not with Node.
(function (print, inspect, format) {
  'use strict';
  const seen = new Set();

  function run(name, fn) {
    if (seen.has(name)) throw new Error(`two cases are named ${name}`);
    seen.add(name);
    try {
      return String(fn());
    } catch (error) {
      return describe(error);
    }
  }

  // Node has a code for each conversion that fails; only those that say more than the name count.
  const idle = ['ERR_INVALID_THIS', 'ERR_INVALID_ARG_TYPE'];

  function describe(error) {
    return `throws ${error.name}${error.code === undefined || idle.includes(error.code) ? '' : ` ${error.code}`}`;
  }

  return {
    inspect,
    format,
    describe,
    check: (name, fn) => print(`## ${name}\n${run(name, fn)}\n`),
    differs: (name, reason, fn) => print(`## ${name}\n## not as Node: ${reason}\n${run(name, fn)}\n`),
  };
})
