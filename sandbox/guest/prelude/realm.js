// The rest of the realm: what is taken away, time and chance, `System`, `module`, and the entry points for the host.
(function (native, runtime) {
  'use strict';
  const { host, inspect } = native;
  const { apply } = Reflect;
  const { defineProperty, freeze, create, setPrototypeOf } = Object;
  const { stringify, parse } = JSON;
  const map = Function.prototype.call.bind(Array.prototype.map);
  const PromiseConstructor = Promise;
  const resolved = Promise.resolve;
  const rejected = Promise.reject;
  const slice = Function.prototype.call.bind(String.prototype.slice);
  const isWellFormed = Function.prototype.call.bind(String.prototype.isWellFormed);
  const toWellFormed = Function.prototype.call.bind(String.prototype.toWellFormed);

  const OP_ADVANCE = 2, OP_PREVIOUS = 7, OP_RPC = 20;
  const isName = RegExp.prototype.test.bind(/^[A-Za-z_$][\w$]*$/);

  // Whatever could tell one run from another, or needs the outside to mean anything.
  for (const name of ['WeakRef', 'FinalizationRegistry', 'Atomics', 'SharedArrayBuffer', 'performance', 'navigator', 'Intl',
    'WebAssembly', 'gc', 'print', 'scriptArgs', 'bjson', 'Worker']) {
    delete globalThis[name];
  }

  const hidden = (target, name, value) => defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
  const random = native.random;
  hidden(Math, 'random', { random() { return random(); } }.random);

  // ---- timers: a call's own, on a virtual clock that jumps when nothing else is left to do ----

  const MAX_DELAY_MS = 2 ** 31 - 1;
  let clock = 0; // milliseconds since the call began
  let nextTimer = 1;
  const emptyQueue = () => setPrototypeOf([], null);
  let queue = emptyQueue(); // a binary heap by (due, id)
  let waiting = create(null); // id -> timer

  const before = (a, b) => a.due < b.due || (a.due === b.due && a.id < b.id);

  function enqueue(timer) {
    let i = queue.length;
    queue[i] = timer;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(timer, queue[parent])) break;
      queue[i] = queue[parent];
      i = parent;
    }
    queue[i] = timer;
  }

  function dequeue() {
    const first = queue[0];
    const size = queue.length - 1;
    const last = queue[size];
    queue.length = size;
    if (size > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= size) break;
        if (child + 1 < size && before(queue[child + 1], queue[child])) child++;
        if (!before(queue[child], last)) break;
        queue[i] = queue[child];
        i = child;
      }
      queue[i] = last;
    }
    return first;
  }

  function schedule(callback, delay, args, repeat) {
    if (typeof callback !== 'function') throw new TypeError('The "callback" argument must be of type function');
    delay = +delay;
    if (!(delay >= 1 && delay <= MAX_DELAY_MS)) delay = 1;
    delay = Math.floor(delay);
    const timer = { id: nextTimer++, due: clock + delay, callback, args, every: repeat ? delay : 0 };
    waiting[timer.id] = timer;
    enqueue(timer);
    return timer.id;
  }

  hidden(globalThis, 'setTimeout', function setTimeout(callback, delay, ...args) { return schedule(callback, delay, args, false); });
  hidden(globalThis, 'setInterval', function setInterval(callback, delay, ...args) { return schedule(callback, delay, args, true); });
  hidden(globalThis, 'setImmediate', function setImmediate(callback, ...args) { return schedule(callback, 1, args, false); });
  for (const name of ['clearTimeout', 'clearInterval', 'clearImmediate']) {
    hidden(globalThis, name, { [name](id) { if (typeof id === 'number' || typeof id === 'string') delete waiting[id]; } }[name]);
  }

  // Runs the next timer. False when there is none: then nothing can settle what the call waits for.
  function tick() {
    while (queue.length > 0) {
      const timer = dequeue();
      if (waiting[timer.id] !== timer) continue;
      if (timer.due > clock) {
        host(OP_ADVANCE, '' + (timer.due - clock));
        clock = timer.due;
      }
      if (timer.every > 0) {
        timer.due = clock + timer.every;
        enqueue(timer);
      } else {
        delete waiting[timer.id];
      }
      apply(timer.callback, undefined, timer.args);
      return true;
    }
    return false;
  }

  // Timers belong to the call that set them: what is left when it has settled never runs.
  function finish() {
    queue = emptyQueue();
    waiting = create(null);
    clock = 0;
    nextTimer = 1;
    callerId = null;
  }

  // ---- System, module, exports ----

  let callerId = null;
  const System = freeze({
    caller: freeze({ get id() { return callerId; } }),
    files: runtime.files,
    oracle: runtime.oracle,
  });
  defineProperty(globalThis, 'System', { value: System, writable: false, configurable: true, enumerable: false });
  const module = { exports: {} };
  hidden(globalThis, 'module', module);
  hidden(globalThis, 'exports', module.exports);

  // ---- entry points ----

  let table = create(null);
  let receiver;

  // `migrate(previous)`: `previous.NAME` is a variable or an export of the code before, as JSON has it.
  const PREVIOUS = freeze(new Proxy(create(null), {
    get(_, name) {
      if (typeof name !== 'string' || !isName(name)) return undefined;
      const answer = host(OP_PREVIOUS, name);
      if (typeof answer === 'string') return parse(answer);
      if (answer === undefined) return undefined;
      const error = new Error(answer[1]);
      error.name = answer[0];
      throw error;
    },
  }));

  // Finds the methods: enumerable functions of `module.exports` in their order, or the functions that a module exports
  // in the order of the source (a namespace is sorted by name), those of a default-exported object last.
  function methods(namespace) {
    finish();
    table = create(null);
    const names = [];
    const add = (name, value) => {
      if (typeof value !== 'function' || name in table) return;
      table[name] = value;
      names[names.length] = name;
    };
    // What only reads says so by `readonly`; in the list it stands as an object.
    const listed = (name) => (table[name].readonly === true ? { readonly: name } : name);
    if (namespace === undefined) {
      receiver = module.exports;
      if (receiver !== null && (typeof receiver === 'object' || typeof receiver === 'function')) {
        for (const name in receiver) add(name, receiver[name]);
      }
      return map(names, listed);
    }
    receiver = namespace;
    // For who looks into the realm from outside, as at a script's.
    hidden(globalThis, 'exports', namespace);
    const found = [];
    for (const name in namespace) {
      const value = namespace[name];
      if (name !== 'default' && typeof value === 'function') {
        found[found.length] = { name, value, line: value.lineNumber | 0, column: value.columnNumber | 0 };
      }
    }
    found.sort((a, b) => a.line - b.line || a.column - b.column);
    for (let i = 0; i < found.length; i++) add(found[i].name, found[i].value);
    const fallback = namespace.default;
    if (fallback !== null && typeof fallback === 'object') {
      for (const name in fallback) add(name, fallback[name]);
    }
    return map(names, listed);
  }

  // An export that is data.
  function exported(name) {
    const found = receiver !== null && typeof receiver === 'object' && name in receiver ? receiver[name] : undefined;
    return typeof found === 'function' ? undefined : found;
  }

  function invoke(method, args, caller) {
    callerId = caller;
    const value = apply(table[method], receiver, method === 'migrate' ? [PREVIOUS] : args);
    return value !== null && (typeof value === 'object' || typeof value === 'function')
      ? apply(resolved, PromiseConstructor, [value])
      : value;
  }

  const MAX_NAME = 200, MAX_MESSAGE = 8000, MAX_STACK = 8000;
  function cut(text, limit) {
    if (text.length > limit) text = slice(text, 0, limit) + '…';
    return isWellFormed(text) ? text : toWellFormed(text);
  }

  // [name, message, stack] of anything that can be thrown. Looks at a value only inside `try`.
  function describe(value) {
    let name = 'ThrownValue', message = '', stack = '';
    try {
      const object = value !== null && (typeof value === 'object' || typeof value === 'function');
      const itsName = object ? value.name : undefined;
      const itsMessage = object ? value.message : undefined;
      const itsStack = object ? value.stack : undefined;
      if (typeof itsMessage === 'string' || (typeof itsName === 'string' && typeof value !== 'function')) {
        name = typeof itsName === 'string' && itsName !== '' ? itsName : 'Error';
        message = typeof itsMessage === 'string' ? itsMessage : '';
        if (typeof itsStack === 'string') stack = itsStack;
      } else {
        message = typeof value === 'string' ? value : inspect(value);
      }
    } catch {
      name = 'ThrownValue';
      message = 'a value that throws when it is looked at';
      stack = '';
    }
    return [cut(name, MAX_NAME), cut(message, MAX_MESSAGE), cut(stack, MAX_STACK)];
  }

  // Turns the realm into a REPL's: `client` has a method for each of the backend's, and nothing of a backend is left.
  function connect(names) {
    for (const name of ['System', 'module', 'exports']) delete globalThis[name];
    const client = {};
    for (const name of parse(names)) {
      hidden(client, name, undefined);
      defineProperty(client, name, {
        enumerable: true, configurable: true, writable: true,
        value: { [name](...args) {
          const answer = host(OP_RPC, name, stringify(args));
          if (typeof answer === 'string') return apply(resolved, PromiseConstructor, [parse(answer)]);
          if (answer === undefined) return apply(resolved, PromiseConstructor, [undefined]);
          const error = new Error(answer[1]);
          error.name = answer[0];
          error.stack = '';
          return apply(rejected, PromiseConstructor, [error]);
        } }[name],
      });
    }
    hidden(globalThis, 'client', client);
  }

  return { methods, invoke, exported, consult: runtime.consult, tick, finish, describe, connect, inspect: (value) => inspect(value) };
})
