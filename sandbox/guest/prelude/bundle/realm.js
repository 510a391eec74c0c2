// The entry points of a bundle's realm: modules, requests, and the calls of a constitution.
(function (native, runtime) {
  'use strict';
  const { failed } = native;
  const { stringify, parse } = JSON;
  const { apply } = Reflect;
  const { create } = Object;
  const { TypeError, Error } = globalThis;
  const StringOf = String;
  const hasOwn = Function.prototype.call.bind(Object.prototype.hasOwnProperty);
  const isWellFormed = Function.prototype.call.bind(String.prototype.isWellFormed);
  const toWellFormed = Function.prototype.call.bind(String.prototype.toWellFormed);
  const slice = Function.prototype.call.bind(String.prototype.slice);

  let table = create(null);

  // Evaluates modules, in this order, each with what it imports.
  async function load(names) {
    const list = parse(names);
    runtime.evaluating(true);
    for (let i = 0; i < list.length; i++) {
      const name = list[i];
      try {
        table[name] = (await import('glassbox:holder:' + name)).module;
      } catch (error) {
        const [where, what] = failed();
        const text = describe(error);
        if (what === 'missing') {
          throw new Error(where === name ? `Module '${name}' could not be loaded`
            : `Failed to resolve dependencies for module '${name}': Module '${where}' could not be loaded`);
        }
        if (what === 'unresolved') throw new Error(`Failed to resolve dependencies for module '${name}': ${text[1]}`);
        if (what === 'compile') {
          const wrapped = new Error(`Failed to compile module '${where}': ${text[0]}: ${text[1]}`);
          wrapped.stack = text[2];
          throw wrapped;
        }
        const wrapped = new Error(`Failed to execute ${name}: ${text[0]}: ${text[1]}`);
        wrapped.stack = text[2];
        throw wrapped;
      }
    }
    runtime.evaluating(false);
  }

  const none = (count) => { if (count !== 0) throw new TypeError(`Passed ${count} arguments, but expected none`); };

  class Body {
    #bytes;
    constructor(bytes) { this.#bytes = bytes; }
    text() { none(arguments.length); return native.fromBuffer(this.#bytes); }
    json() { none(arguments.length); return parse(native.fromBuffer(this.#bytes)); }
    arrayBuffer() { none(arguments.length); return native.copy(this.#bytes); }
  }

  // The handler's value, or an error of the table of load errors, as a string.
  function dispatch(module, name, json, body, content, state) {
    const namespace = table[module];
    if (namespace === undefined) return `Module '${module}' could not be loaded`;
    if (!hasOwn(namespace, name)) return `Failed to find export '${name}' in module '${module}'`;
    const handler = namespace[name];
    if (typeof handler !== 'function') return `Export '${name}' of module '${module}' is not a function`;
    const request = parse(json);
    request.body = new Body(body);
    if (content !== undefined) {
      const caller = request.caller.policy === 'user_cose_sign1' ? request.caller : request.caller.user_cose_sign1;
      caller.cose = { content };
    }
    runtime.begin(state === undefined ? undefined : parse(state));
    // Within an array, so that a string of the handler's is no error of ours.
    return [apply(handler, undefined, [request])];
  }

  // Calls an export of a module, for a constitution: arguments and result are JSON.
  function invoke(module, name, args) {
    const namespace = table[module];
    if (namespace === undefined || !hasOwn(namespace, name)) throw new Error(`Failed to find export '${name}'`);
    const value = namespace[name];
    if (typeof value !== 'function') throw new Error(`Export '${name}' is not a function`);
    return apply(value, undefined, parse(args));
  }

  // For each name the number of parameters of that export, or null if it is no function.
  function shape(module, names) {
    const counts = {};
    const list = parse(names);
    for (let i = 0; i < list.length; i++) {
      const value = hasOwn(table[module], list[i]) ? table[module][list[i]] : undefined;
      counts[list[i]] = typeof value === 'function' ? value.length : null;
    }
    return counts;
  }

  const MAX_NAME = 200, MAX_MESSAGE = 8000, MAX_STACK = 8000;
  function cut(text, limit) {
    if (text.length > limit) text = slice(text, 0, limit) + '…';
    return isWellFormed(text) ? text : toWellFormed(text);
  }

  // [name, message, stack] of anything that can be thrown. Looks at a value only inside `try`.
  function describe(value) {
    let name = '', message = '', stack = '';
    try {
      if (value !== null && typeof value === 'object') {
        const { name: itsName, message: itsMessage, stack: itsStack } = value;
        name = typeof itsName === 'string' ? itsName : 'Error';
        message = typeof itsMessage === 'string' ? itsMessage : '';
        if (typeof itsStack === 'string') stack = itsStack;
        if (itsName === undefined && itsMessage === undefined) {
          name = '';
          message = StringOf(value);
        }
      } else {
        message = StringOf(value);
      }
    } catch {
      message = 'a value that throws when it is looked at';
    }
    // As the engine that such apps are written for has it.
    if (name === 'RangeError' && message === 'Maximum call stack size exceeded') {
      name = 'InternalError';
      message = 'stack overflow';
    }
    return [cut(name, MAX_NAME), cut(message, MAX_MESSAGE), cut(stack, MAX_STACK)];
  }

  return { load, dispatch, invoke, shape, describe, become: runtime.become, tick: () => false };
})
