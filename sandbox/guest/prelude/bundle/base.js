// What a bundle's realm begins with: what is taken away, chance, and `console`.
(function (native) {
  'use strict';
  const { host, random } = native;
  const { defineProperty } = Object;
  const { stringify } = JSON;
  const StringOf = String;

  // Whatever could tell one run from another, or needs the outside to mean anything.
  for (const name of ['WeakRef', 'FinalizationRegistry', 'Atomics', 'SharedArrayBuffer', 'performance', 'navigator', 'Intl',
    'WebAssembly', 'gc', 'print', 'scriptArgs', 'bjson', 'Worker', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval']) {
    delete globalThis[name];
  }

  const hidden = (target, name, value) => defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
  hidden(Math, 'random', { random() { return random(); } }.random);

  const OP_CONSOLE = 1;
  const DEBUG = '0', INFO = '1', WARN = '2', ERROR = '3';

  // Strings as they are, objects as JSON, with one space between.
  function print(level, args) {
    let line = '';
    for (let i = 0; i < args.length; i++) {
      const value = args[i];
      if (i > 0) line += ' ';
      const json = value !== null && typeof value === 'object' && !(value instanceof Error) ? stringify(value) : undefined;
      line += json === undefined ? StringOf(value) : json;
    }
    host(OP_CONSOLE, level + line);
  }

  const console = {
    debug(...args) { print(DEBUG, args); },
    log(...args) { print(INFO, args); },
    info(...args) { print(INFO, args); },
    warn(...args) { print(WARN, args); },
    error(...args) { print(ERROR, args); },
  };
  hidden(globalThis, 'console', console);
})
