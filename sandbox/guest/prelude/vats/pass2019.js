// What may pass between vats, in the dialect of 2019: `passStyleOf2019`, and which objects are presences.
//
// - An object with methods only passes by presence; the empty object is one, too: a token of identity.
// - A frozen record without methods, an array, or an error passes by copy.
(function (native, runtime) {
  'use strict';
  const { WeakSet, Promise, Error, TypeError, Symbol } = globalThis;
  const { getOwnPropertyDescriptor, getOwnPropertyDescriptors, getOwnPropertyNames, getPrototypeOf, isFrozen, keys } = Object;
  const { isArray } = Array;
  const { harden, hardened, isHandledPromise } = runtime;
  const { COPY_ARRAY, COPY_RECORD } = runtime.shapes;
  const { getErrorConstructor } = runtime.pass;
  const ObjectPrototype = Object.prototype;
  const ArrayPrototype = Array.prototype;
  const PromisePrototype = Promise.prototype;
  const QCLASS = '@qclass';
  const StringOf = String;

  // As messages show it. Not everything can be made a string.
  function shown(value) {
    try {
      return StringOf(value);
    } catch {
      return '[object Object]';
    }
  }

  function isPassByCopyError(value) {
    if (!(value instanceof Error)) return false;
    const constructor = getErrorConstructor(value.name);
    if (!constructor || constructor.prototype !== getPrototypeOf(value)) {
      throw new TypeError(`Must inherit from an error class .prototype ${shown(value)}`);
    }
    const { message, stack: _, ...rest } = getOwnPropertyDescriptors(value);
    const more = keys(rest);
    if (more.length > 0) throw new TypeError(`Unexpected own properties in error: ${more}`);
    if (message === undefined || typeof message.value !== 'string') throw new TypeError(`malformed error object: ${shown(value)}`);
    return true;
  }

  function checkArray(array) {
    if (getPrototypeOf(array) !== ArrayPrototype) throw new TypeError(`malformed array: ${shown(array)}`);
    const { length } = array;
    for (let i = 0; i < length; i++) {
      const own = getOwnPropertyDescriptor(array, i);
      if (own === undefined) throw new TypeError('arrays must not contain holes');
      if (!('value' in own)) throw new TypeError('arrays must not contain accessors');
      if (typeof own.value === 'function') throw new TypeError('arrays must not contain methods');
    }
    if (getOwnPropertyNames(array).length !== length + 1) throw new TypeError(`array must not have non-indexes ${shown(array)}`);
  }

  function isPassByCopyRecord(object) {
    const prototype = getPrototypeOf(object);
    if (prototype !== ObjectPrototype && prototype !== null) return false;
    const names = Reflect.ownKeys(object);
    for (let i = 0; i < names.length; i++) {
      const own = getOwnPropertyDescriptor(object, names[i]);
      if (!('value' in own) || typeof own.value === 'function') return false;
    }
    return names.length > 0;
  }

  function mustPassByPresence(value) {
    if (!isFrozen(value)) throw new Error(`cannot serialize non-frozen objects like ${shown(value)}`);
    if (typeof value !== 'object') throw new Error(`cannot serialize non-objects like ${shown(value)}`);
    if (isArray(value)) throw new Error('Arrays cannot be pass-by-presence');
    if (value === null) throw new Error('null cannot be pass-by-presence');
    for (const name of getOwnPropertyNames(value)) {
      // A Vow has an `e`, through which it is sent messages: no method.
      if (name !== 'e' && typeof value[name] !== 'function') {
        throw new Error(`cannot serialize objects with non-methods like the .${name} in ${shown(value)}`);
      }
    }
    const prototype = getPrototypeOf(value);
    if (prototype !== null && prototype !== ObjectPrototype) mustPassByPresence(prototype);
  }

  const presences = new WeakSet(); // what has been found to be one

  function passStyleOf2019(value) {
    switch (typeof value) {
      case 'object':
        if (value === null) return 'null';
        return presences.has(value) ? 'presence' : isHandledPromise(value) ? 'promise' : styleOf(value);
      case 'function':
        throw new Error(`bare functions like ${shown(value)} are disabled for now`);
      case 'symbol':
        if (Symbol.keyFor(value) === undefined) throw new TypeError('Cannot pass unregistered symbols');
        return 'symbol';
      default:
        return typeof value;
    }
  }

  function styleOf(object) {
    const shape = hardened.get(object);
    if (shape === COPY_ARRAY) return 'copyArray';
    if (shape === COPY_RECORD && !(QCLASS in object)) {
      for (const _ in object) return 'copyRecord';
    }
    if (QCLASS in object) throw new Error(`property "${QCLASS}" reserved`);
    if (!isFrozen(object)) throw new Error(`cannot pass non-frozen objects like ${shown(object)}. [Use harden()]`);
    if (getPrototypeOf(object) === PromisePrototype && Promise.resolve(object) === object) return 'promise';
    if (typeof object.then === 'function') throw new Error('Cannot pass non-promise thenables');
    if (isPassByCopyError(object)) return 'copyError';
    if (isArray(object)) {
      checkArray(object);
      return 'copyArray';
    }
    if (isPassByCopyRecord(object)) return 'copyRecord';
    mustPassByPresence(object);
    presences.add(object);
    return 'presence';
  }

  runtime.passStyleOf2019 = harden(passStyleOf2019);
  runtime.mustPassByPresence = harden(mustPassByPresence);
})
