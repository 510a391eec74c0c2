// What a vat's world begins with: globals that could tell one run from another are taken away or made to throw, every
// primordial is frozen, and `harden` exists.
//
// - After this file no code can change a primordial: the files that follow may use methods of arrays, maps and strings of
//   their own as they are. What comes from a vat's code may still have own properties, accessors and proxies.
// - `globalThis` itself stays open: the vat's own globals are added to it later.
// - An object is marked as hardened only when everything that it reaches is frozen.
(function (native, runtime) {
  'use strict';
  const { freeze, defineProperty, getOwnPropertyDescriptor, getPrototypeOf, setPrototypeOf, preventExtensions,
    getOwnPropertyNames } = Object;
  const { ownKeys, apply, construct } = Reflect;
  const { isArray } = Array;
  const ObjectPrototype = Object.prototype;
  const ArrayPrototype = Array.prototype;
  const { TypeError, Error, Symbol, WeakMap, Set, ArrayBuffer } = globalThis;
  const StringOf = String;
  const RealDate = Date;
  const RealRegExp = RegExp;
  const realEval = eval;
  const RealFunction = Function;

  runtime.WeakRef = WeakRef;
  runtime.FinalizationRegistry = FinalizationRegistry;
  runtime.queueMicrotask = queueMicrotask;
  runtime.feral = { eval: realEval, Function: RealFunction };

  // --- What stays ---

  const GLOBALS = ['Object', 'Function', 'Error', 'EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError',
    'URIError', 'AggregateError', 'Iterator', 'Array', 'parseInt', 'parseFloat', 'isNaN', 'isFinite', 'decodeURI',
    'decodeURIComponent', 'encodeURI', 'encodeURIComponent', 'escape', 'unescape', 'Infinity', 'NaN', 'undefined', 'eval',
    'Number', 'Boolean', 'String', 'Math', 'Reflect', 'Symbol', 'globalThis', 'BigInt', 'Date', 'RegExp', 'JSON', 'Proxy',
    'Map', 'Set', 'WeakMap', 'WeakSet', 'ArrayBuffer', 'Uint8ClampedArray', 'Int8Array', 'Uint8Array', 'Int16Array',
    'Uint16Array', 'Int32Array', 'Uint32Array', 'BigInt64Array', 'BigUint64Array', 'Float16Array', 'Float32Array',
    'Float64Array', 'DataView', 'Promise', 'console'];
  const keep = new Set(GLOBALS);
  for (const name of getOwnPropertyNames(globalThis)) {
    if (!keep.has(name)) delete globalThis[name];
  }

  const hide = (target, name, value) => defineProperty(target, name, { value, writable: true, enumerable: false, configurable: true });

  // --- Time and chance ---

  const SharedDate = function Date(...args) {
    if (new.target === undefined) throw new TypeError('secure mode Calling %SharedDate% constructor as a function throws');
    if (args.length === 0) throw new TypeError('secure mode Calling new %SharedDate%() with no arguments throws');
    return construct(RealDate, args, new.target);
  };
  defineProperty(SharedDate, 'length', { value: 7 });
  defineProperty(SharedDate, 'prototype', { value: RealDate.prototype, writable: false, enumerable: false, configurable: false });
  hide(SharedDate, 'parse', RealDate.parse);
  hide(SharedDate, 'UTC', RealDate.UTC);
  hide(SharedDate, 'now', { now() { throw new TypeError('secure mode Calling %SharedDate%.now() throws'); } }.now);
  hide(RealDate.prototype, 'constructor', SharedDate);
  hide(globalThis, 'Date', SharedDate);
  hide(Math, 'random', { random() { throw new TypeError('secure mode %SharedMath%.random() throws'); } }.random);

  // --- Statics that remember what others did ---

  const SharedRegExp = function RegExp(...args) {
    return construct(RealRegExp, args, new.target === undefined ? SharedRegExp : new.target);
  };
  defineProperty(SharedRegExp, 'length', { value: 2 });
  defineProperty(SharedRegExp, 'prototype', { value: RealRegExp.prototype, writable: false, enumerable: false, configurable: false });
  const species = getOwnPropertyDescriptor(RealRegExp, Symbol.species);
  if (species !== undefined) defineProperty(SharedRegExp, Symbol.species, species);
  if (getOwnPropertyDescriptor(RealRegExp, 'escape') !== undefined) hide(SharedRegExp, 'escape', RealRegExp.escape);
  delete RealRegExp.prototype.compile;
  hide(RealRegExp.prototype, 'constructor', SharedRegExp);
  hide(globalThis, 'RegExp', SharedRegExp);

  delete Error.prepareStackTrace;
  delete Error.stackTraceLimit;
  // Programs set it; here it has no effect.
  defineProperty(Error, 'stackTraceLimit', {
    get: freeze({ get() { return 10; } }.get),
    set: freeze({ set(_limit) {} }.set),
    enumerable: false,
    configurable: false,
  });

  // --- No way from a function to an evaluator ---

  const inert = (name, sample) => {
    const prototype = getPrototypeOf(sample);
    const constructor = function () { throw new TypeError('Function.prototype.constructor is not a valid constructor.'); };
    defineProperty(constructor, 'prototype', { value: prototype });
    defineProperty(constructor, 'name', { value: name, writable: false, enumerable: false, configurable: true });
    defineProperty(prototype, 'constructor', { value: constructor });
    return constructor;
  };
  const InertFunction = inert('Function', function () {});
  for (const [name, sample] of [['GeneratorFunction', function* () {}], ['AsyncFunction', async function () {}],
    ['AsyncGeneratorFunction', async function* () {}]]) {
    setPrototypeOf(inert(name, sample), InertFunction);
  }

  // --- No locale ---

  const byCodeUnits = {
    localeCompare(that) {
      if (this === null || this === undefined) throw new TypeError('Cannot localeCompare with null or undefined "this" value');
      const a = `${this}`;
      const b = `${that}`;
      return a < b ? -1 : a > b ? 1 : 0;
    },
    toString() { return `${this}`; },
  };
  hide(StringOf.prototype, 'localeCompare', byCodeUnits.localeCompare);
  hide(StringOf.prototype, 'toLocaleUpperCase', StringOf.prototype.toUpperCase);
  hide(StringOf.prototype, 'toLocaleLowerCase', StringOf.prototype.toLowerCase);
  hide(Number.prototype, 'toLocaleString', byCodeUnits.toString);
  const TypedArrayPrototype = getPrototypeOf(Uint8Array.prototype);
  for (const prototype of [Object.prototype, Array.prototype, BigInt.prototype, TypedArrayPrototype]) {
    hide(prototype, 'toLocaleString', prototype.toString);
  }
  for (const kind of ['String', 'DateString', 'TimeString']) {
    hide(RealDate.prototype, `toLocale${kind}`, RealDate.prototype[`to${kind}`]);
  }

  // --- harden ---

  // Each hardened object, with its shape: COPY_ARRAY and COPY_RECORD are plain containers, looked at when they were frozen:
  // all their properties are enumerable data, none is a function, and nothing in them leads back to them.
  const hardened = new WeakMap();
  const OTHER = 0;
  const COPY_ARRAY = 1;
  const COPY_RECORD = 2;
  const typedArrayTag = getOwnPropertyDescriptor(TypedArrayPrototype, Symbol.toStringTag).get;
  const isView = ArrayBuffer.isView;
  const getterOf = RealFunction.prototype.call.bind(ObjectPrototype.__lookupGetter__);
  const isEnumerable = RealFunction.prototype.call.bind(ObjectPrototype.propertyIsEnumerable);
  const isIndex = /^(0|[1-9][0-9]*)$/;

  const isTypedArray = (object) => isView(object) && apply(typedArrayTag, object, []) !== undefined;

  // The elements of a typed array cannot be frozen, everything else of it can.
  function freezeOne(object) {
    if (!isTypedArray(object)) {
      freeze(object);
      return;
    }
    preventExtensions(object);
    for (const key of ownKeys(object)) {
      if (typeof key === 'string' && isIndex.test(key)) continue;
      const own = getOwnPropertyDescriptor(object, key);
      own.configurable = false;
      if ('writable' in own) own.writable = false;
      defineProperty(object, key, own);
    }
  }

  const isPrimitive = (value) => value === null || (typeof value !== 'object' && typeof value !== 'function');

  // The whole graph at once: nothing is marked unless all of it could be frozen.
  function hardenGraph(root) {
    const found = new Set();
    const meet = (value) => { if (!isPrimitive(value) && !hardened.has(value)) found.add(value); };
    meet(root);
    for (const object of found) {
      freezeOne(object);
      meet(getPrototypeOf(object));
      for (const key of ownKeys(object)) {
        const own = getOwnPropertyDescriptor(object, key);
        if ('value' in own) {
          meet(own.value);
        } else {
          meet(own.get);
          meet(own.set);
        }
      }
    }
    for (const object of found) hardened.set(object, OTHER);
  }

  // A tree, children before parents; says no, with nothing of the object marked, to what is deep or has a cycle.
  const MAX_TREE_DEPTH = 12;
  function hardenTree(object, depth) {
    if (depth > MAX_TREE_DEPTH) return false;
    if (isView(object)) freezeOne(object);
    else freeze(object);
    const prototype = getPrototypeOf(object);
    if (prototype !== null && !hardened.has(prototype) && !hardenTree(prototype, depth + 1)) return false;
    // Descriptors are dear: most properties do without.
    const isList = isArray(object);
    const keys = ownKeys(object);
    const { length } = keys;
    let isPlain = typeof object === 'object' && prototype === (isList ? ArrayPrototype : ObjectPrototype);
    for (let i = 0; i < length; i++) {
      const key = keys[i];
      if (isList && key === 'length') continue;
      if (getterOf(object, key) !== undefined) return false;
      const value = object[key];
      if (isPlain && (typeof key === 'symbol' || !isEnumerable(object, key))) isPlain = false;
      switch (typeof value) {
        case 'undefined':
          if (getOwnPropertyDescriptor(object, key).set !== undefined) return false;
          break;
        case 'function':
          isPlain = false;
          if (!hardened.has(value) && !hardenTree(value, depth + 1)) return false;
          break;
        case 'object':
          if (value !== null && !hardened.has(value) && !hardenTree(value, depth + 1)) return false;
      }
    }
    hardened.set(object, !isPlain ? OTHER : !isList ? COPY_RECORD : length === object.length + 1 ? COPY_ARRAY : OTHER);
    return true;
  }

  const { harden } = {
    // Freezes everything that can be reached from a value through properties and prototypes.
    harden(root) {
      if (!isPrimitive(root) && !hardened.has(root) && !hardenTree(root, 0)) hardenGraph(root);
      return root;
    },
  };

  // --- Assignment to what a frozen prototype has ---

  // Turns a data property of a prototype into an accessor, so that an object that inherits it can be given its own.
  function openToOverride(prototype, key) {
    const own = getOwnPropertyDescriptor(prototype, key);
    if (own === undefined || !('value' in own) || !own.configurable) return;
    const { value } = own;
    const { get, set } = {
      get() { return value; },
      set(mine) {
        if (prototype === this) {
          throw new TypeError(`Cannot assign to read only property '${StringOf(key)}' of '[object Object]'`);
        }
        if (getOwnPropertyDescriptor(this, key) !== undefined) {
          this[key] = mine;
        } else {
          defineProperty(this, key, { value: mine, writable: true, enumerable: true, configurable: true });
        }
      },
    };
    hide(get, 'originalValue', value);
    defineProperty(prototype, key, { get, set, enumerable: own.enumerable, configurable: false });
  }

  const IteratorPrototype = getPrototypeOf(getPrototypeOf([][Symbol.iterator]()));
  // Accessors in the engine whose setters refuse some receivers.
  for (const key of ['constructor', Symbol.toStringTag]) {
    const own = getOwnPropertyDescriptor(IteratorPrototype, key);
    if (own !== undefined && own.get !== undefined) hide(IteratorPrototype, key, IteratorPrototype[key]);
  }

  // Not the ones of arrays, promises and maps: those are read too often.
  const generator = getPrototypeOf((function* () {}).prototype);
  const OPEN = [
    [Object.prototype, ownKeys(Object.prototype).filter((key) => key !== '__proto__')],
    [RealFunction.prototype, ['toString', 'constructor', 'bind', 'call', 'apply']],
    [Array.prototype, ['toString']],
    [IteratorPrototype, ['toString', 'constructor', Symbol.toStringTag, Symbol.iterator]],
    [getPrototypeOf(function* () {}), ['constructor', 'toString']],
  ];
  for (const { prototype } of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, AggregateError]) {
    OPEN.push([prototype, ['name', 'message', 'constructor', 'toString']]);
  }
  for (const [prototype, keys] of OPEN) {
    for (const key of keys) openToOverride(prototype, key);
  }

  // --- Evaluators of the vat itself: strict, and no direct eval ---

  // `plain(before, part, after)` is a part of a text without wavy dots.
  runtime.lockEvaluators = (evaluate, plain) => {
    const { eval: evaluator } = { eval(source) { return typeof source === 'string' ? evaluate(source) : source; } };
    hide(globalThis, 'eval', harden(evaluator));
    hide(globalThis, 'Function', harden(runtime.makeFunctionConstructor(evaluate, plain)));
  };
  runtime.makeFunctionConstructor = (evaluate, plain) => {
    const Function = function Function() {
      const count = arguments.length;
      const source = `${count > 0 ? arguments[count - 1] || '' : ''}`;
      const parameters = [];
      for (let i = 0; i < count - 1; i++) parameters.push(arguments[i]);
      const list = plain('(function (', parameters.join(','), '\n) {})');
      const body = plain('(function () {\n', source, '\n})');
      // Each part is a program text of its own, so that none can close what the other opened.
      new RealFunction(list, '');
      new RealFunction(body);
      return evaluate(`(function anonymous(${list}\n) {\n${body}\n})`);
    };
    defineProperty(Function, 'prototype', { value: RealFunction.prototype, writable: false, enumerable: false, configurable: false });
    return Function;
  };

  // Of 2019.
  hide(Promise, 'makeHandled', (executor, handler) => new runtime.HandledPromise(executor, handler));

  // --- All primordials ---

  const roots = [];
  for (const name of GLOBALS) {
    if (name !== 'globalThis' && name !== 'eval' && name !== 'Function' && name !== 'console') roots.push(globalThis[name]);
  }
  roots.push(realEval, RealDate, RealRegExp, RealFunction.prototype, runtime.WeakRef, runtime.FinalizationRegistry);
  for (const sample of [[][Symbol.iterator](), new Map()[Symbol.iterator](), new Set()[Symbol.iterator](), ''[Symbol.iterator](),
    /x/[Symbol.matchAll](''), generator, (async function* () {}).prototype, function* () {}, async function () {},
    async function* () {}, [].values(), function () {}]) {
    for (let link = sample; link !== null && link !== undefined; link = getPrototypeOf(link)) roots.push(link);
  }
  for (const make of [() => Iterator.from({ next() {} }), () => [].values().map((x) => x), () => Iterator.concat()]) {
    try {
      roots.push(getPrototypeOf(make()));
    } catch {
      // The engine has none of these.
    }
  }
  for (const root of roots) if (!isPrimitive(root)) hardenGraph(root);

  runtime.harden = harden(harden);
  // For the runtime's own fresh objects: `value` is frozen already and reaches nothing that is not hardened.
  runtime.hardened = hardened;
  runtime.markHardened = (value) => { hardened.set(value, OTHER); };
  runtime.shapes = { OTHER, COPY_ARRAY, COPY_RECORD };
  runtime.isHardened = (value) => hardened.has(value);
  runtime.isTypedArray = isTypedArray;
  runtime.shared = GLOBALS;
  hide(globalThis, 'harden', harden);
})
