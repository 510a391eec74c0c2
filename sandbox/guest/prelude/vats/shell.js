// What all realms of this base have for the host beside deliveries; and what a shell's realm has beside a vat's: `E`, and the
// kernel's `dump`, `dump2`, `step` and `run`. A line that reaches here has no wavy dots any more.
(function (native, runtime) {
  'use strict';
  const { host, inspect, provide } = native;
  const { stringify, parse } = JSON;
  const { defineProperty, getOwnPropertyDescriptor, keys } = Object;
  const { Promise, Error } = globalThis;
  const { slice, isWellFormed, toWellFormed } = String.prototype;
  const { apply } = Reflect;

  const OP_KERNEL = 20;
  const MAX_NAME = 200, MAX_MESSAGE = 8000, MAX_STACK = 8000;

  function cut(text, limit) {
    if (text.length > limit) text = apply(slice, text, [0, limit]) + '…';
    return apply(isWellFormed, text, []) ? text : apply(toWellFormed, text, []);
  }

  // [name, message, stack] of anything that can be thrown. Looks at a value only inside `try`.
  function describe(value) {
    let name = '', message = '', stack = '';
    try {
      const { name: itsName, message: itsMessage, stack: itsStack } = Object(value);
      if (typeof itsMessage === 'string' && value !== null && typeof value === 'object') {
        name = typeof itsName === 'string' && itsName !== '' ? itsName : 'Error';
        message = itsMessage;
        if (typeof itsStack === 'string') stack = itsStack;
      } else {
        message = typeof value === 'string' ? value : inspect(value);
      }
    } catch {
      message = 'a value that throws when it is looked at';
    }
    return [cut(name, MAX_NAME), cut(message, MAX_MESSAGE), cut(stack, MAX_STACK)];
  }

  // The kernel's answer is JSON, or nothing.
  function ask(name, args) {
    const answer = host(OP_KERNEL, name, stringify(args));
    if (answer === undefined) return undefined;
    if (typeof answer === 'string') return parse(answer);
    const error = new Error(answer[1]);
    error.name = answer[0];
    throw error;
  }

  const commands = {
    dump(...args) { return ask('dump', args); },
    dump2(...args) { return ask('dump2', args); },
    async step(...args) { return ask('step', args); },
    async run(...args) { return ask('run', args); },
  };

  // Makes the realm a shell's.
  function connect() {
    const globals = { ...commands };
    if (runtime.E !== undefined) globals.E = runtime.E;
    for (const name of keys(globals)) {
      defineProperty(globalThis, name, { value: globals[name], writable: true, configurable: true, enumerable: false });
    }
  }

  // What is a getter is made for those who ask: its package is evaluated in the vat that imports it.
  const packages = runtime.packages || {};
  for (const name of keys(packages)) {
    const values = packages[name];
    const names = keys(values);
    provide(name, names, values, names.every((key) => getOwnPropertyDescriptor(values, key).get === undefined));
  }

  return { describe, ...runtime.entry, connect, inspect: (value) => inspect(value), tick: () => false };
})
