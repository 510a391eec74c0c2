// `console`: formats on this side of the wall, so that what a line says is decided by the realm alone.
(function (native) {
  'use strict';
  const { format, inspect, host, text } = native;
  const repeat = Function.prototype.call.bind(String.prototype.repeat);
  const replaceAll = Function.prototype.call.bind(String.prototype.replaceAll);
  const OP_CONSOLE = 1;
  const DEBUG = '0', INFO = '1', WARN = '2', ERROR = '3';
  const MAX_INDENT = 40;
  let indent = 0;
  const counts = new Map();
  const get = Function.prototype.call.bind(Map.prototype.get);
  const set = Function.prototype.call.bind(Map.prototype.set);

  function print(level, args) {
    const line = format(args);
    const space = repeat(' ', indent < MAX_INDENT ? indent : MAX_INDENT);
    host(OP_CONSOLE, level + space + (indent > 0 ? replaceAll(line, '\n', '\n' + space) : line));
  }

  const console = {
    debug(...args) { print(DEBUG, args); },
    log(...args) { print(INFO, args); },
    info(...args) { print(INFO, args); },
    warn(...args) { print(WARN, args); },
    error(...args) { print(ERROR, args); },
    trace(...args) { print(ERROR, ['Trace: ' + format(args) + '\n' + new Error().stack]); },
    dir(value, options) { print(INFO, [inspect(value, options)]); },
    table(...args) { print(INFO, args); },
    assert(condition, ...args) {
      if (!condition) print(ERROR, ['Assertion failed' + (args.length > 0 ? ': ' + format(args) : '')]);
    },
    group(...args) { if (args.length > 0) print(INFO, args); indent += 2; },
    groupCollapsed(...args) { if (args.length > 0) print(INFO, args); indent += 2; },
    groupEnd() { if (indent > 0) indent -= 2; },
    count(label = 'default') {
      const n = (get(counts, text(label)) || 0) + 1;
      set(counts, text(label), n);
      print(INFO, [text(label) + ': ' + n]);
    },
    countReset(label = 'default') { set(counts, text(label), 0); },
  };
  Object.defineProperty(globalThis, 'console', { value: console, writable: true, configurable: true, enumerable: false });
})
