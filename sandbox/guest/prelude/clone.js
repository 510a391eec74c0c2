// structuredClone (HTML, "structured serialize"): a deep copy that keeps cycles and shared references.
//
// What an object is, is decided by the engine's slots (`native.classOf`), never by its prototype, a tag or a
// method that a script can replace. What is not listed in `copy` is not cloneable: a DataCloneError.
//
// A transferred buffer is copied like any other, and detached once the whole value has been copied: the result
// is the same, and a failure on the way leaves every buffer attached.
(function (native) {
  'use strict';

  const {
    Object: ObjectConstructor,
    Reflect: { defineProperty, getOwnPropertyDescriptor, getPrototypeOf },
    Array, ArrayBuffer, DataView, Date, DOMException, Error, Map, RegExp, Set, Symbol, TypeError, Uint8Array,
  } = globalThis;
  const { keys, setPrototypeOf, prototype: ObjectPrototype } = ObjectConstructor;
  const { prototype: ArrayPrototype } = Array;
  const { classOf, copyBuffer, platform, uncurry, text, coded, isTypedArray, arrayParts, viewParts } = native;

  const getter = (prototype, name) => uncurry(getOwnPropertyDescriptor(prototype, name).get);
  const hasOwn = uncurry(ObjectConstructor.prototype.hasOwnProperty);
  const list = () => setPrototypeOf([], null);

  const mapGet = uncurry(Map.prototype.get);
  const mapSet = uncurry(Map.prototype.set);
  const mapForEach = uncurry(Map.prototype.forEach);
  const setAdd = uncurry(Set.prototype.add);
  const setHas = uncurry(Set.prototype.has);
  const setForEach = uncurry(Set.prototype.forEach);
  const dateValue = uncurry(Date.prototype.getTime);
  const booleanValue = uncurry(globalThis.Boolean.prototype.valueOf);
  const numberValue = uncurry(globalThis.Number.prototype.valueOf);
  const stringValue = uncurry(globalThis.String.prototype.valueOf);
  const bigintValue = uncurry(globalThis.BigInt.prototype.valueOf);
  const symbolString = uncurry(Symbol.prototype.toString);
  const functionString = uncurry(globalThis.Function.prototype.toString);
  const slice = uncurry(globalThis.String.prototype.slice);
  const errorStack = getter(Error.prototype, 'stack');
  const detach = uncurry(ArrayBuffer.prototype.transfer);
  const isDetached = getter(ArrayBuffer.prototype, 'detached');
  const isResizable = getter(ArrayBuffer.prototype, 'resizable');
  const byteLength = getter(ArrayBuffer.prototype, 'byteLength');
  const maxByteLength = getter(ArrayBuffer.prototype, 'maxByteLength');
  const arrayLength = getter(getPrototypeOf(Uint8Array.prototype), 'length');
  const setBytes = uncurry(getPrototypeOf(Uint8Array.prototype).set);
  const regexpSource = getter(RegExp.prototype, 'source');
  const flags = list();
  const flagNames = ['d', 'hasIndices', 'g', 'global', 'i', 'ignoreCase', 'm', 'multiline', 's', 'dotAll',
    'u', 'unicode', 'v', 'unicodeSets', 'y', 'sticky'];
  for (let i = 0; i < flagNames.length; i += 2) {
    flags[flags.length] = { letter: flagNames[i], isSet: getter(RegExp.prototype, flagNames[i + 1]) };
  }

  // The flags in the engine's slots: `flags` of the prototype asks the object's properties.
  function regexpFlags(regexp) {
    let letters = '';
    for (let i = 0; i < flags.length; i++) {
      const { letter, isSet } = flags[i];
      if (isSet(regexp)) letters += letter;
    }
    return letters;
  }
  native.regexpSource = regexpSource;
  native.regexpFlags = regexpFlags;

  const viewConstructors = { __proto__: null, DataView };
  const errorConstructors = { __proto__: null, Error };
  for (const name in isTypedArray) viewConstructors[name] = globalThis[name];
  for (const name of ['EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError']) {
    errorConstructors[name] = globalThis[name];
  }
  const domExceptionName = getter(DOMException.prototype, 'name');
  const domExceptionMessage = getter(DOMException.prototype, 'message');

  const MAX_NAME_CHARS = 200;

  function refuse(value) {
    let name;
    if (typeof value === 'symbol') {
      name = symbolString(value);
    } else if (typeof value === 'function') {
      name = classOf(value) === 'Proxy' ? '#<Function>' : functionString(value);
    } else {
      const kind = classOf(value);
      name = '#<' + (kind === 'Proxy' ? 'Object' : kind) + '>';
    }
    throw new DOMException(slice(name, 0, MAX_NAME_CHARS) + ' could not be cloned.', 'DataCloneError');
  }

  // A property as an error has them: not enumerable.
  function define(object, key, value) {
    defineProperty(object, key, { __proto__: null, value, writable: true, enumerable: false, configurable: true });
  }

  // Whether an object's state is private.
  function isPlatform(object) {
    for (let i = 0; i < platform.length; i++) {
      const describe = platform[i];
      if (describe(object) !== undefined) return true;
    }
    return false;
  }

  function copyArrayBuffer(buffer) {
    if (isDetached(buffer)) throw new DOMException('An ArrayBuffer is detached and could not be cloned.', 'DataCloneError');
    if (!isResizable(buffer)) return copyBuffer(buffer);
    const result = new ArrayBuffer(byteLength(buffer), { __proto__: null, maxByteLength: maxByteLength(buffer) });
    setBytes(new Uint8Array(result), new Uint8Array(buffer));
    return result;
  }

  // ---- The walk ----
  //
  // A container is made empty and registered in `seen`; what it holds is copied later, by a frame on `stack`. The
  // top frame is worked off first, so the order in which getters run is that of a recursive copy, and the depth of
  // a value is bounded by memory, not by the engine's stack.

  // The properties of an array or an object are assigned to a target without a prototype, so that no inherited
  // setter is asked; it gets its prototype when they are complete. No script sees it before.

  const PROPERTIES = 0; // items: the names of properties
  const ELEMENTS = 1; // items: the names of all elements of an array without holes and other properties
  const MAP = 2; // items: keys and values in turn
  const SET = 3; // items: values
  const CAUSE = 4; // items: the cause of an error

  function pushFrame(stack, kind, source, target, items) {
    stack[stack.length] = { __proto__: null, kind, source, target, items, at: 0, key: undefined, length: undefined };
  }

  // Works on the top frame until it is done or there is a new one above it.
  function work(stack, seen) {
    const frame = stack[stack.length - 1];
    const { items, source, target, kind } = frame;
    const depth = stack.length;
    while (frame.at < items.length) {
      const at = frame.at++;
      switch (kind) {
        case PROPERTIES: {
          const name = items[at];
          if (hasOwn(source, name)) target[name] = copy(source[name], stack, seen);
          break;
        }
        case ELEMENTS:
          if (hasOwn(source, at)) target[at] = copy(source[at], stack, seen);
          break;
        case MAP:
          if (at % 2 === 0) frame.key = copy(items[at], stack, seen);
          else mapSet(target, frame.key, copy(items[at], stack, seen));
          break;
        case SET:
          setAdd(target, copy(items[at], stack, seen));
          break;
        case CAUSE:
          define(target, 'cause', copy(items[at], stack, seen));
      }
      if (stack.length !== depth) return;
    }
    if (kind === PROPERTIES || kind === ELEMENTS) {
      if (frame.length !== undefined) target.length = frame.length;
      setPrototypeOf(target, frame.length === undefined ? ObjectPrototype : ArrayPrototype);
    }
    stack.length--;
  }

  // The copy of a value, complete but for what is left on the stack.
  function copy(value, stack, seen) {
    if (typeof value === 'object' && value !== null) return mapGet(seen, value) ?? copyObject(value, stack, seen);
    if (typeof value === 'function' || typeof value === 'symbol') refuse(value);
    return value;
  }

  function copyObject(source, stack, seen) {
    const kind = classOf(source);
    let result;
    switch (kind) {
      case 'Object':
        if (getPrototypeOf(source) !== ObjectPrototype && isPlatform(source)) refuse(source);
        result = { __proto__: null };
        pushFrame(stack, PROPERTIES, source, result, keys(source));
        break;
      case 'Array': {
        result = list();
        const { length } = source;
        const names = keys(source);
        const dense = names.length === length && (length === 0 || names[length - 1] === '' + (length - 1));
        pushFrame(stack, dense ? ELEMENTS : PROPERTIES, source, result, names);
        stack[stack.length - 1].length = length;
        break;
      }
      case 'Map': {
        result = new Map();
        const items = list();
        mapForEach(source, (value, key) => {
          items[items.length] = key;
          items[items.length] = value;
        });
        pushFrame(stack, MAP, source, result, items);
        break;
      }
      case 'Set': {
        result = new Set();
        const items = list();
        setForEach(source, (value) => {
          items[items.length] = value;
        });
        pushFrame(stack, SET, source, result, items);
        break;
      }
      case 'Error':
        result = copyError(source, stack);
        break;
      case 'Date':
        result = new Date(dateValue(source));
        break;
      case 'RegExp':
        result = new RegExp(regexpSource(source), regexpFlags(source));
        break;
      case 'Boolean':
        result = ObjectConstructor(booleanValue(source));
        break;
      case 'Number':
        result = ObjectConstructor(numberValue(source));
        break;
      case 'String':
        result = ObjectConstructor(stringValue(source));
        break;
      case 'BigInt':
        result = ObjectConstructor(bigintValue(source));
        break;
      case 'ArrayBuffer':
        result = copyArrayBuffer(source);
        break;
      case 'DOMException':
        result = new DOMException(domExceptionMessage(source), domExceptionName(source));
        break;
      default: {
        const View = viewConstructors[kind];
        if (View === undefined) refuse(source);
        const parts = kind === 'DataView' ? viewParts : arrayParts;
        const length = kind === 'DataView' ? parts.length(source) : arrayLength(source);
        result = new View(copy(parts.buffer(source), stack, seen), parts.offset(source), length);
      }
    }
    mapSet(seen, source, result);
    return result;
  }

  function copyError(source, stack) {
    const own = (name) => getOwnPropertyDescriptor(source, name);
    const isData = (descriptor) => descriptor !== undefined && hasOwn(descriptor, 'value');
    const result = new (errorConstructors[text(source.name)] ?? Error)();
    const ownStack = own('stack');
    const trace = ownStack === undefined ? errorStack(source) : ownStack.value;
    const message = own('message');
    const cause = own('cause');
    if (typeof trace === 'string') define(result, 'stack', trace);
    if (isData(message)) define(result, 'message', text(message.value));
    if (isData(cause)) pushFrame(stack, CAUSE, source, result, [cause.value]);
    return result;
  }

  function copyAll(value) {
    const stack = list();
    const seen = new Map();
    const result = copy(value, stack, seen);
    while (stack.length > 0) work(stack, seen);
    return result;
  }

  // The buffers to transfer, each once, none detached.
  function transferList(options) {
    const result = list();
    const transfer = options?.transfer;
    if (transfer === undefined) return result;
    const seen = new Set();
    for (const item of transfer) {
      if (classOf(item) !== 'ArrayBuffer') {
        throw new DOMException('Value not transferable.', 'DataCloneError');
      }
      if (setHas(seen, item)) {
        throw new DOMException('ArrayBuffer occurs more than once in the transfer list.', 'DataCloneError');
      }
      if (isDetached(item)) {
        throw new DOMException('An ArrayBuffer is detached and could not be cloned.', 'DataCloneError');
      }
      setAdd(seen, item);
      result[result.length] = item;
    }
    return result;
  }

  function structuredClone(value, options = undefined) {
    if (arguments.length === 0) throw coded(TypeError, 'The "value" argument must be specified', 'ERR_MISSING_ARGS');
    if (options !== undefined && options !== null && typeof options !== 'object' && typeof options !== 'function') {
      throw new TypeError('The "options" argument must be of type object');
    }
    const transferred = transferList(options);
    const result = copyAll(value);
    for (let i = 0; i < transferred.length; i++) {
      if (isDetached(transferred[i])) {
        throw new DOMException('An ArrayBuffer is detached and could not be cloned.', 'DataCloneError');
      }
      detach(transferred[i]);
    }
    return result;
  }

  defineProperty(structuredClone, 'length', { __proto__: null, value: 1, configurable: true });
  defineProperty(globalThis, 'structuredClone', {
    __proto__: null, value: structuredClone, writable: true, configurable: true,
  });
})
