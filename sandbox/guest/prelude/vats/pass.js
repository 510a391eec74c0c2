// What may pass between vats, in today's dialect: `passStyleOf`, and what makes remotables and tagged values.
//
// - A value has one style for ever: what passes is frozen all the way down. Styles of objects are remembered.
// - Copies are plain arrays and records; everything with methods is a remotable and has to be declared with `Far`.
// - Looking at a value may run code of the vat (accessors, proxies), which finds nothing half done.
(function (native, runtime) {
  'use strict';
  const { WeakMap, Promise, Error, TypeError, AggregateError, Map, Set, Symbol, RangeError, ArrayBuffer } = globalThis;
  const { create, defineProperty, getOwnPropertyDescriptor, getOwnPropertyDescriptors, getPrototypeOf, hasOwn, isFrozen, keys,
    setPrototypeOf, freeze, values, fromEntries } = Object;
  const { ownKeys } = Reflect;
  const { isArray } = Array;
  const { toStringTag } = Symbol;
  const { harden, hardened, markHardened, isTypedArray, isHandledPromise, getMethodNames, E } = runtime;
  const { COPY_ARRAY, COPY_RECORD } = runtime.shapes;
  const { Fail, quote: q, details: X, fail, makeError } = runtime.assert;
  const isWellFormed = Function.prototype.call.bind(String.prototype.isWellFormed);
  const StringOf = String;
  const ObjectPrototype = Object.prototype;
  const ArrayPrototype = Array.prototype;
  const FunctionPrototype = Function.prototype;
  const PromisePrototype = Promise.prototype;

  const PASS_STYLE = Symbol.for('passStyle');

  const isPrimitive = (value) => value === null || (typeof value !== 'object' && typeof value !== 'function');
  const isPromise = (value) => Promise.resolve(value) === value;
  const getTag = (value) => value[toStringTag];

  // --- Strings and symbols ---

  const isWellFormedString = (text) => typeof text === 'string' && isWellFormed(text);
  const assertWellFormedString = (text) => { if (!isWellFormedString(text)) Fail`Expected well-formed unicode string: ${text}`; };
  const assertPassableString = (text) => {
    if (typeof text !== 'string') Fail`Expected string ${text}`;
    if (!isWellFormed(text)) Fail`Expected well-formed unicode string: ${text}`;
  };

  const wellKnown = new Map();
  for (const name of ownKeys(Symbol)) {
    if (typeof name === 'string' && typeof Symbol[name] === 'symbol') wellKnown.set(Symbol[name], `@@${name}`);
  }
  const isPassableSymbol = (symbol) => typeof symbol === 'symbol' && (Symbol.keyFor(symbol) !== undefined || wellKnown.has(symbol));
  const assertPassableSymbol = (symbol) => isPassableSymbol(symbol)
    || Fail`Only registered symbols or well-known symbols are passable: ${q(symbol)}`;
  const nameForPassableSymbol = (symbol) => {
    const name = Symbol.keyFor(symbol);
    if (name === undefined) return wellKnown.get(symbol);
    return name.startsWith('@@') ? `@@${name}` : name;
  };
  const passableSymbolForName = (name) => {
    if (typeof name !== 'string') Fail`${q(name)} must be a string, not ${q(typeof name)}`;
    if (!name.startsWith('@@') || name.includes('\n')) return Symbol.for(name);
    const rest = name.slice(2);
    if (rest.startsWith('@@')) return Symbol.for(rest);
    const symbol = Symbol[rest];
    if (typeof symbol !== 'symbol') Fail`Reserved for well known symbol ${q(rest)}: ${q(name)}`;
    return symbol;
  };

  // --- Properties ---

  function ownData(object, key, enumerable) {
    const own = getOwnPropertyDescriptor(object, key);
    if (own === undefined) Fail`${q(key)} property expected: ${object}`;
    if (!hasOwn(own, 'value')) Fail`${q(key)} must not be an accessor property: ${object}`;
    if (enumerable && !own.enumerable) Fail`${q(key)} must be an enumerable property: ${object}`;
    if (!enumerable && own.enumerable) Fail`${q(key)} must not be an enumerable property: ${object}`;
    return own.value;
  }

  // --- Remotables ---

  const canBeMethod = (value) => typeof value === 'function' && !(PASS_STYLE in value);

  function assertIface(iface) {
    if (typeof iface !== 'string') Fail`For now, interface ${iface} must be a string; unimplemented`;
    return iface === 'Remotable' || iface.startsWith('Alleged: ') || iface.startsWith('DebugName: ')
      || Fail`For now, iface ${q(iface)} must be "Remotable" or begin with "Alleged: " or "DebugName: "; unimplemented`;
  }

  function assertCanBeRemotable(candidate) {
    if (isPrimitive(candidate)) Fail`cannot serialize non-objects as Remotable ${candidate}`;
    if (isArray(candidate)) Fail`cannot serialize arrays as Remotable ${candidate}`;
    const own = getOwnPropertyDescriptors(candidate);
    if (typeof candidate === 'object') {
      for (const key of ownKeys(own)) {
        if (!hasOwn(own[key], 'value')) Fail`cannot serialize Remotables with accessors like ${q(StringOf(key))} in ${candidate}`;
        if (key === toStringTag) {
          assertIface(candidate[key]);
          continue;
        }
        if (!canBeMethod(candidate[key])) Fail`cannot serialize Remotables with non-methods like ${q(StringOf(key))} in ${candidate}`;
        if (key === PASS_STYLE) Fail`A pass-by-remote cannot shadow ${q(PASS_STYLE)}`;
      }
      return;
    }
    const { name, length, [toStringTag]: tag, ...rest } = own;
    if (!name || typeof name.value !== 'string') Fail`Far function name must be a string, in ${candidate}`;
    if (!length || typeof length.value !== 'number') Fail`Far function length must be a number, in ${candidate}`;
    if (tag !== undefined) {
      if (typeof tag.value !== 'string') Fail`Far function @@toStringTag must be a string, in ${candidate}`;
      assertIface(tag.value);
    }
    const more = ownKeys(rest);
    if (more.length > 0) Fail`Far functions unexpected properties besides .name and .length ${more}`;
  }

  // A tag record says by two properties what an object that has it, or inherits from it, is.
  function assertTagRecord(record, style, isFunction) {
    if (isPrimitive(record)) Fail`A non-object cannot be a tagRecord: ${record}`;
    if (!isFrozen(record)) Fail`A tagRecord must be frozen: ${record}`;
    if (isArray(record)) Fail`An array cannot be a tagRecord: ${record}`;
    const its = ownData(record, PASS_STYLE, false);
    if (its !== style) Fail`Expected ${q(style)}, not ${q(its)}: ${record}`;
    if (typeof ownData(record, toStringTag, false) !== 'string') {
      Fail`A [Symbol.toStringTag]-named property must be a string: ${record}`;
    }
    const prototype = getPrototypeOf(record);
    if (!isFunction) {
      if (prototype !== ObjectPrototype) Fail`A tagRecord must inherit from Object.prototype: ${record}`;
    } else if (prototype !== FunctionPrototype && (prototype === null || getPrototypeOf(prototype) !== FunctionPrototype)) {
      Fail`For functions, a tagRecord must inherit from Function.prototype: ${record}`;
    }
  }

  const remotables = new WeakMap(); // what has been found to be declared

  function assertRemotableStructure(value) {
    if (remotables.has(value)) return;
    if (!isFrozen(value)) Fail`cannot serialize non-frozen objects like ${value}`;
    assertCanBeRemotable(value);
    const prototype = getPrototypeOf(value);
    if (prototype === ObjectPrototype || prototype === null || prototype === FunctionPrototype) {
      Fail`Remotables must be explicitly declared: ${q(value)}`;
    }
    if (typeof value === 'object') {
      const parent = getPrototypeOf(prototype);
      if (parent !== ObjectPrototype && parent !== null) {
        assertRemotableStructure(prototype);
        remotables.set(value, true);
        return;
      }
      assertTagRecord(prototype, 'remotable', false);
    } else {
      assertTagRecord(prototype, 'remotable', true);
    }
    const extra = ownKeys(prototype).filter((key) => key !== PASS_STYLE && key !== toStringTag);
    if (extra.length > 0) Fail`Unexpected properties on Remotable Proto ${extra}`;
    assertIface(prototype[toStringTag]);
    remotables.set(value, true);
  }

  function getInterfaceOf(value) {
    if (isPrimitive(value) || value[PASS_STYLE] !== 'remotable') return undefined;
    if (!remotables.has(value)) {
      try {
        assertRemotableStructure(value);
      } catch {
        return undefined;
      }
    }
    return value[toStringTag];
  }

  // --- Errors ---

  const errorConstructors = new Map([['Error', Error], ['EvalError', EvalError], ['RangeError', RangeError],
    ['ReferenceError', ReferenceError], ['SyntaxError', SyntaxError], ['TypeError', TypeError], ['URIError', URIError],
    ['AggregateError', AggregateError]]);
  const getErrorConstructor = (name) => errorConstructors.get(name);
  const isErrorLike = (value) => value instanceof Error;

  function assertErrorProperty(name, own, recur) {
    if (own.enumerable) Fail`Passable Error ${q(name)} own property must not be enumerable: ${own}`;
    if (!hasOwn(own, 'value')) Fail`Passable Error ${q(name)} own property must be a data property: ${own}`;
    const { value } = own;
    switch (name) {
      case 'message':
      case 'stack':
        return typeof value === 'string' || Fail`Passable Error ${q(name)} own property must be a string: ${value}`;
      case 'cause':
        return assertPassableError(value, recur);
      case 'errors':
        if (!isArray(value) || recur(value) !== 'copyArray') {
          Fail`Passable Error ${q(name)} own property must be a copyArray: ${value}`;
        }
        for (const error of value) assertPassableError(error, recur);
        return true;
      default:
        return Fail`Passable Error has extra unpassed property ${q(name)}`;
    }
  }

  function assertPassableError(candidate, recur) {
    if (!isErrorLike(candidate)) Fail`Error expected: ${candidate}`;
    const prototype = getPrototypeOf(candidate);
    const constructor = getErrorConstructor(prototype.name);
    if (constructor === undefined || constructor.prototype !== prototype) {
      Fail`Passable Error must inherit from an error class .prototype: ${candidate}`;
    }
    const own = getOwnPropertyDescriptors(candidate);
    if (!('message' in own)) Fail`Passable Error must have an own "message" string property: ${candidate}`;
    for (const name of keys(own)) assertErrorProperty(name, own[name], recur);
    return true;
  }

  const holds = (check) => {
    try {
      check();
      return true;
    } catch {
      return false;
    }
  };

  // --- Copies ---

  function checkArray(array, recur) {
    if (getPrototypeOf(array) !== ArrayPrototype) fail(X`Malformed array: ${array}`, TypeError);
    const length = ownData(array, 'length', false);
    for (let i = 0; i < length; i++) recur(ownData(array, i, true));
    if (ownKeys(array).length !== length + 1) fail(X`Arrays must not have non-indexes: ${array}`, TypeError);
  }

  // undefined, or why an object is no record.
  function notRecord(candidate, names) {
    if (getPrototypeOf(candidate) !== ObjectPrototype) return X`Records must inherit from Object.prototype: ${candidate}`;
    for (let i = 0; i < names.length; i++) {
      const value = candidate[names[i]];
      if (typeof names[i] !== 'string') return X`Records can only have string-named properties: ${candidate}`;
      if (typeof value === 'function' && canBeMethod(value)) {
        return X`Records cannot contain non-far functions because they may be methods of an implicit Remotable: ${candidate}`;
      }
    }
    return undefined;
  }

  function checkRecord(record, names, recur) {
    for (let i = 0; i < names.length; i++) recur(ownData(record, names[i], true));
  }

  function checkTagged(tagged, recur) {
    assertTagRecord(tagged, 'tagged', false);
    const extra = ownKeys(tagged).filter((key) => key !== PASS_STYLE && key !== toStringTag && key !== 'payload');
    if (extra.length > 0) Fail`Unexpected properties on tagged record ${extra}`;
    recur(ownData(tagged, 'payload', true));
  }

  function checkPromise(promise) {
    const own = ownKeys(promise);
    if (own.length === 0) return;
    const unknown = own.filter((key) => typeof key !== 'symbol' || !hasOwn(PromisePrototype, key));
    if (unknown.length > 0) Fail`${promise} - Must not have any own properties: ${q(unknown)}`;
    for (const key of own) {
      const tag = getOwnPropertyDescriptor(promise, key);
      if (!hasOwn(tag, 'value')) Fail`Own @@toStringTag must be a data property, not an accessor: ${q(tag)}`;
      if (typeof tag.value !== 'string') Fail`Own @@toStringTag value must be a string: ${q(tag.value)}`;
      if (tag.enumerable) Fail`Own @@toStringTag must not be enumerable: ${q(tag)}`;
    }
  }

  // Today's engine has no immutable buffers; a later one may.
  const isImmutableBuffer = (value) => value instanceof ArrayBuffer && value.immutable === true;

  // --- passStyleOf ---

  const styles = new WeakMap(); // object or function -> style

  function passStyleOf(value) {
    switch (typeof value) {
      case 'string':
        if (!isWellFormed(value)) Fail`Expected well-formed unicode string: ${value}`;
        return 'string';
      case 'undefined':
      case 'boolean':
      case 'number':
      case 'bigint':
        return typeof value;
      case 'symbol':
        assertPassableSymbol(value);
        return 'symbol';
      default:
        if (value === null) return 'null';
        return styles.get(value) ?? (isHandledPromise(value) ? 'promise' : styleOf(value, []));
    }
  }

  // `within`: the objects that are being looked at, outermost first.
  function styleOf(object, within) {
    const shape = hardened.get(object);
    if (shape === COPY_ARRAY) {
      for (let i = 0; i < object.length; i++) checkInner(object[i], within);
      styles.set(object, 'copyArray');
      return 'copyArray';
    }
    if (shape === COPY_RECORD) {
      const names = keys(object);
      for (let i = 0; i < names.length; i++) checkInner(object[names[i]], within);
      styles.set(object, 'copyRecord');
      return 'copyRecord';
    }
    if (within.includes(object)) Fail`Pass-by-copy data cannot be cyclic ${object}`;
    within.push(object);
    const recur = (inner) => (isPrimitive(inner) ? passStyleOf(inner)
      : styles.get(inner) ?? (isHandledPromise(inner) ? 'promise' : styleOf(inner, within)));
    const style = typeof object === 'function' ? styleOfFunction(object) : styleOfObject(object, recur);
    styles.set(object, style);
    within.pop();
    return style;
  }

  // Of a container whose shape is known: it is in no cycle.
  function checkInner(value, within) {
    if (isPrimitive(value)) passStyleOf(value);
    else if (!styles.has(value) && !isHandledPromise(value)) styleOf(value, within);
  }

  function styleOfFunction(object) {
    if (!isFrozen(object)) Fail`Cannot pass non-frozen objects like ${object}. Use harden()`;
    if (typeof object.then === 'function') Fail`Cannot pass non-promise thenables`;
    assertCanBeRemotable(object);
    assertRemotableStructure(object);
    return 'remotable';
  }

  function styleOfObject(object, recur) {
    if (!isFrozen(object)) {
      if (isTypedArray(object)) Fail`Cannot pass mutable typed arrays like ${object}.`;
      Fail`Cannot pass non-frozen objects like ${object}. Use harden()`;
    }
    if (getPrototypeOf(object) === PromisePrototype && isPromise(object)) {
      checkPromise(object);
      return 'promise';
    }
    if (typeof object.then === 'function') Fail`Cannot pass non-promise thenables`;
    const tag = object[PASS_STYLE];
    if (tag !== undefined) return styleOfTagged(object, tag, recur);
    if (isArray(object)) {
      checkArray(object, recur);
      return 'copyArray';
    }
    if (isImmutableBuffer(object)) return 'byteArray';
    const names = ownKeys(object);
    if (notRecord(object, names) === undefined) {
      checkRecord(object, names, recur);
      return 'copyRecord';
    }
    if (isErrorLike(object)) {
      assertPassableError(object, recur);
      return 'error';
    }
    assertCanBeRemotable(object);
    assertRemotableStructure(object);
    return 'remotable';
  }

  function styleOfTagged(object, tag, recur) {
    runtime.assert.typeof(tag, 'string');
    switch (tag) {
      case 'tagged':
        checkTagged(object, recur);
        break;
      case 'remotable':
        assertCanBeRemotable(object);
        assertRemotableStructure(object);
        break;
      case 'copyArray':
        if (!isArray(object)) Fail`Array expected: ${object}`;
        checkArray(object, recur);
        break;
      case 'byteArray':
        Fail`Immutable ArrayBuffer expected: ${object}`;
        break;
      case 'copyRecord': {
        const names = ownKeys(object);
        const why = notRecord(object, names);
        if (why !== undefined) fail(why);
        checkRecord(object, names, recur);
        break;
      }
      case 'error':
        assertPassableError(object, recur);
        break;
      default:
        Fail`Unrecognized PassStyle: ${q(tag)}`;
    }
    return tag;
  }

  const assertPassable = (value) => { passStyleOf(value); };
  const isPassable = (value) => holds(() => passStyleOf(value));

  // --- What makes passables ---

  function makeTagged(tag, payload) {
    if (typeof tag !== 'string') Fail`The tag of a tagged record must be a string: ${tag}`;
    assertPassable(harden(payload));
    return harden(create(ObjectPrototype, {
      [PASS_STYLE]: { value: 'tagged' },
      [toStringTag]: { value: tag },
      payload: { value: payload, enumerable: true },
    }));
  }

  // One tag record for all remotables of an interface and of a kind.
  const tagRecords = [new Map(), new Map()];
  const MAX_TAG_RECORDS = 1000;
  function tagRecord(parent, iface) {
    const table = parent === ObjectPrototype ? tagRecords[0] : parent === FunctionPrototype ? tagRecords[1] : undefined;
    let record = table === undefined ? undefined : table.get(iface);
    if (record === undefined) {
      record = harden(create(parent, { [PASS_STYLE]: { value: 'remotable' }, [toStringTag]: { value: iface } }));
      if (table !== undefined && table.size < MAX_TAG_RECORDS) table.set(iface, record);
    }
    return record;
  }

  function Remotable(iface = 'Remotable', props = undefined, remotable = {}) {
    assertIface(iface);
    if (props !== undefined) Fail`Remotable props not yet implemented ${props}`;
    assertCanBeRemotable(remotable);
    if (PASS_STYLE in remotable) Fail`Remotable ${remotable} is already marked as a ${q(remotable[PASS_STYLE])}`;
    if (isFrozen(remotable)) Fail`Remotable ${remotable} is already frozen`;
    let parent = getPrototypeOf(remotable);
    if (typeof remotable === 'object') {
      if (parent === null) parent = ObjectPrototype;
      if (parent !== ObjectPrototype) Fail`For now, remotables cannot inherit from anything unusual, in ${remotable}`;
    } else {
      if (parent === null) Fail`Original function must not inherit from null: ${remotable}`;
      if (parent !== FunctionPrototype && getPrototypeOf(parent) !== FunctionPrototype) {
        Fail`Far functions must originally inherit from Function.prototype, in ${remotable}`;
      }
    }
    setPrototypeOf(remotable, tagRecord(parent, iface));
    harden(remotable);
    assertCanBeRemotable(remotable);
    return remotable;
  }

  // What `Remotable(iface)` makes, without looking at it: for presences.
  function makeRemotable(iface) {
    assertIface(iface);
    const remotable = freeze(create(tagRecord(ObjectPrototype, iface)));
    declareRemotable(remotable);
    return remotable;
  }

  // An object without properties that inherits from a remotable: frozen, and not looked at.
  function declareRemotable(remotable) {
    markHardened(remotable);
    remotables.set(remotable, true);
    styles.set(remotable, 'remotable');
  }

  const GET_METHOD_NAMES = '__getMethodNames__';
  const { [GET_METHOD_NAMES]: methodNames } = { [GET_METHOD_NAMES]() { return getMethodNames(this); } };
  const methodNamesProperty = harden({ value: methodNames, enumerable: false, configurable: false, writable: false });

  function Far(name, remotable = undefined) {
    const object = remotable === undefined ? {} : remotable;
    if (typeof object === 'object' && !(GET_METHOD_NAMES in object)) defineProperty(object, GET_METHOD_NAMES, methodNamesProperty);
    return Remotable(`Alleged: ${name}`, undefined, object);
  }

  const ToFarFunction = (name, func) => (getInterfaceOf(func) !== undefined ? func : Far(name, (...args) => func(...args)));

  // --- Errors for others ---

  function toPassableError(error) {
    harden(error);
    if (holds(() => assertPassableError(error, passStyleOf))) return error;
    const { name, message } = error;
    const { cause, errors } = getOwnPropertyDescriptors(error);
    const options = {};
    const passes = (key, own) => own !== undefined && holds(() => assertErrorProperty(key, own, passStyleOf));
    if (passes('cause', cause)) options.cause = cause.value;
    if (passes('errors', errors)) options.errors = errors.value;
    return harden(makeError(`${message}`, getErrorConstructor(`${name}`) || Error, options));
  }

  function toThrowable(specimen) {
    harden(specimen);
    if (isErrorLike(specimen)) return toPassableError(specimen);
    if (isPrimitive(specimen)) return specimen;
    const style = passStyleOf(specimen);
    let inner;
    if (style === 'copyArray') inner = specimen;
    else if (style === 'copyRecord') inner = values(specimen);
    else if (style === 'tagged') inner = [specimen.payload];
    else Fail`A ${q(style)} is not throwable: ${specimen}`;
    for (const item of inner) {
      if (item !== toThrowable(item)) Fail`nested toThrowable coercion not yet supported ${item}`;
    }
    return specimen;
  }

  // --- Guards ---

  const article = { copyArray: 'a pass-by-copy array', copyRecord: 'a pass-by-copy record', remotable: 'a remotable' };
  const makeAssertStyle = (style, what) => (value, name = `Alleged ${what}`) => {
    const its = passStyleOf(value);
    if (its !== style) fail(X([`${q(name)} `, ` must be ${article[style]}, not ${q(its)}`], value));
  };
  const ATOMS = new Set(['undefined', 'null', 'boolean', 'number', 'bigint', 'string', 'byteArray', 'symbol']);
  function assertAtom(value) {
    let style;
    try {
      style = passStyleOf(value);
    } catch (error) {
      Fail`Not even Passable: ${q(error)}: ${value}`;
    }
    if (!ATOMS.has(style)) Fail`A ${q(style)} cannot be an atom: ${value}`;
  }
  const isAtom = (value) => holds(() => assertAtom(value));

  async function deeplyFulfilled(value) {
    if (isAtom(value)) return value;
    if (isPromise(value)) return E.when(value, deeplyFulfilled);
    switch (passStyleOf(value)) {
      case 'copyRecord': {
        const names = ownKeys(value);
        return E.when(Promise.all(names.map((name) => deeplyFulfilled(value[name]))),
          (all) => harden(fromEntries(all.map((item, i) => [names[i], item]))));
      }
      case 'copyArray':
        return E.when(Promise.all(value.map((item) => deeplyFulfilled(item))), (all) => harden(all));
      case 'tagged':
        return E.when(deeplyFulfilled(value.payload), (payload) => makeTagged(getTag(value), payload));
      default:
        return value;
    }
  }

  runtime.pass = harden({
    PASS_STYLE, GET_METHOD_NAMES, isPrimitive, isObject: (value) => !isPrimitive(value), isPromise, getTag, passStyleOf, isPassable,
    assertPassable, assertPassableSymbol, isPassableSymbol, nameForPassableSymbol, passableSymbolForName,
    unpassableSymbolForName: (name) => Symbol(name), isWellFormedString, assertWellFormedString, assertPassableString,
    getInterfaceOf, getRemotableMethodNames: getMethodNames, getErrorConstructor, isErrorLike, toPassableError, toThrowable,
    makeTagged, Remotable, Far, ToFarFunction, isAtom, assertAtom, deeplyFulfilled,
    hasOwnPropertyOf: hasOwn,
    assertChecker: (condition, details) => {
      runtime.assert(condition, details);
      return true;
    },
    isCopyArray: (value) => passStyleOf(value) === 'copyArray',
    isRecord: (value) => passStyleOf(value) === 'copyRecord',
    isRemotable: (value) => passStyleOf(value) === 'remotable',
    assertCopyArray: makeAssertStyle('copyArray', 'array'),
    assertRecord: makeAssertStyle('copyRecord', 'record'),
    assertRemotable: makeAssertStyle('remotable', 'remotable'),
  });
  for (const name of ['passStyleOf', 'isPassable', 'getInterfaceOf', 'makeTagged', 'Remotable', 'Far']) runtime[name] = runtime.pass[name];
  runtime.makeRemotable = harden(makeRemotable);
  runtime.declareRemotable = declareRemotable;
})
