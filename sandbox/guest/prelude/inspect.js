// How a value looks on the console and in the REPL: the layout of Node's `util.inspect` with its defaults.
//
// `native.inspect(value, options)` is one value; lines of console.log are made in format.js.
//
// Invariants:
// - it never throws, whatever the value: a getter, a `toString` or a tag that throws is shown as such or left out;
// - no accessor of a plain property is called and no proxy trap is triggered: a proxy is shown as its target.
//   Scripts run only for getters of `Symbol.toStringTag`, of a function's `name` and of an error's `name` and
//   `message`; for `Symbol.for('nodejs.util.inspect.custom')`; and for %s of an object with a `toString` of its
//   own, %j, %d, %i and %f;
// - the output has at most MAX_CHARS, and the work is bounded by it: once it is used up, loops end.
(function (native) {
  'use strict';

  const {
    Object: ObjectConstructor,
    Reflect: { apply, getOwnPropertyDescriptor, getPrototypeOf, ownKeys },
    ArrayBuffer, BigInt, Boolean, Date, Error, Function, Map, Math, Number, Set, String,
    Symbol, Uint8Array,
  } = globalThis;
  const { setPrototypeOf } = ObjectConstructor;
  const { floor, max, min, round, sqrt } = Math;
  const { toStringTag, for: symbolFor } = Symbol;
  const {
    classOf, proxyTarget, promiseState, promiseResult, quote, key: quoteKey, width, platform, uncurry, text: toText, isTypedArray,
    viewParts, regexpSource, regexpFlags,
  } = native;

  const getter = (prototype, name) => uncurry(getOwnPropertyDescriptor(prototype, name).get);
  const charCodeAt = uncurry(String.prototype.charCodeAt);
  const endsWith = uncurry(String.prototype.endsWith);
  const includes = uncurry(String.prototype.includes);
  const indexOf = uncurry(String.prototype.indexOf);
  const padEnd = uncurry(String.prototype.padEnd);
  const padStart = uncurry(String.prototype.padStart);
  const repeat = uncurry(String.prototype.repeat);
  const slice = uncurry(String.prototype.slice);
  const startsWith = uncurry(String.prototype.startsWith);
  const isEnumerable = uncurry(ObjectConstructor.prototype.propertyIsEnumerable);
  const hasOwn = uncurry(ObjectConstructor.prototype.hasOwnProperty);
  const bigintString = uncurry(BigInt.prototype.toString);
  const symbolString = uncurry(Symbol.prototype.toString);
  const functionString = uncurry(Function.prototype.toString);
  const errorString = uncurry(Error.prototype.toString);
  const errorStack = getter(Error.prototype, 'stack');
  const dateValue = uncurry(Date.prototype.getTime);
  const dateISO = uncurry(Date.prototype.toISOString);
  const booleanValue = uncurry(Boolean.prototype.valueOf);
  const numberValue = uncurry(Number.prototype.valueOf);
  const stringValue = uncurry(String.prototype.valueOf);
  const bigintValue = uncurry(BigInt.prototype.valueOf);
  const symbolValue = uncurry(Symbol.prototype.valueOf);
  const mapSize = getter(Map.prototype, 'size');
  const mapEntries = uncurry(Map.prototype.entries);
  const mapNext = uncurry(new Map().entries().next);
  const mapGet = uncurry(Map.prototype.get);
  const mapSet = uncurry(Map.prototype.set);
  const setSize = getter(Set.prototype, 'size');
  const setValues = uncurry(Set.prototype.values);
  const setNext = uncurry(new Set().values().next);
  const bufferLength = getter(ArrayBuffer.prototype, 'byteLength');
  const bufferDetached = getter(ArrayBuffer.prototype, 'detached');
  const typedLength = getter(getPrototypeOf(Uint8Array.prototype), 'length');

  const MAX_CHARS = 65536;
  const MAX_DEPTH = 1000;
  const MAX_LISTED = 10000;
  const LINE_CHARS = 80;
  const COMPACT_LEVELS = 3; // objects with at most so many levels inside go on one line, if it is short enough
  const CUT = '... truncated';

  // What `promiseState` answers.
  const PENDING = 0;
  const REJECTED = 2;

  // How the properties of a container are shown: all with their names, or an array's elements without.
  const NAMED = 0;
  const ELEMENT = 1;
  const ARRAY = 2;

  const list = () => setPrototypeOf([], null);
  const push = (items, item) => {
    items[items.length] = item;
  };
  const more = (count, what) => '... ' + count + ' more ' + what + (count === 1 ? '' : 's');
  const clip = (text) => (text.length > MAX_CHARS ? slice(text, 0, MAX_CHARS) : text);

  function join(items, separator) {
    let text = '';
    for (let i = 0; i < items.length; i++) text += i === 0 ? items[i] : separator + items[i];
    return text;
  }

  const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

  // The object behind a proxy, or null if the proxy is revoked.
  function behindProxies(object) {
    while (object !== null && classOf(object) === 'Proxy') object = proxyTarget(object);
    return object;
  }

  // The prototype, seen through proxies.
  const prototypeOf = (object) => behindProxies(getPrototypeOf(object));

  // The descriptor of a property, own or inherited. No script runs.
  function lookup(object, name) {
    for (let at = object, depth = 0; at !== null && depth < MAX_DEPTH; at = prototypeOf(at), depth++) {
      const descriptor = getOwnPropertyDescriptor(at, name);
      if (descriptor !== undefined) return descriptor;
    }
    return undefined;
  }

  // The value of a property, with its getter called if it has one; undefined if that throws.
  function read(object, name) {
    try {
      const descriptor = lookup(object, name);
      if (descriptor === undefined) return undefined;
      if (hasOwn(descriptor, 'value')) return descriptor.value;
      return descriptor.get === undefined ? undefined : apply(descriptor.get, object, []);
    } catch {
      return undefined;
    }
  }

  // The value of an own data property.
  function ownData(object, name) {
    const descriptor = getOwnPropertyDescriptor(object, name);
    return descriptor !== undefined && hasOwn(descriptor, 'value') ? descriptor.value : undefined;
  }

  // The value of a data property, also of one that a vat's lockdown has made an accessor, to keep it assignable in objects that
  // inherit it.
  function original(descriptor) {
    if (hasOwn(descriptor, 'value')) return descriptor.value;
    const { get } = descriptor;
    return get !== undefined && classOf(get) !== 'Proxy' ? ownData(get, 'originalValue') : undefined;
  }

  // ---- Names ----

  function inherits(object, constructor) {
    const prototype = ownData(constructor, 'prototype');
    for (let at = prototypeOf(object), depth = 0; at !== null && depth < MAX_DEPTH; at = prototypeOf(at), depth++) {
      if (at === prototype) return true;
    }
    return false;
  }

  // The name of the nearest constructor on the prototype chain, null if there is none. A chain that ends without
  // one is named by the slots of the object and by what its prototype looks like.
  function constructorName(state, object, level) {
    const start = object;
    for (let at = object, depth = 0; at !== null && depth < MAX_DEPTH; at = prototypeOf(at), depth++) {
      const descriptor = getOwnPropertyDescriptor(at, 'constructor');
      const constructor = descriptor === undefined ? undefined : original(descriptor);
      if (typeof constructor === 'function' && classOf(constructor) !== 'Proxy') {
        const name = ownData(constructor, 'name');
        if (typeof name === 'string' && name !== '' && inherits(start, constructor)) return clip(name);
      }
    }
    const prototype = prototypeOf(start);
    if (prototype === null) return null;
    const kind = classOf(start);
    if (level > state.depth) return kind + ' <Complex prototype>';
    const inner = constructorName(state, prototype, level + 1);
    if (inner !== null) return kind + ' <' + inner + '>';
    const depth = state.depth;
    state.depth = -1;
    const shown = formatValue(state, prototype, 0, true);
    state.depth = depth;
    return kind + ' <' + shown + '>';
  }

  function tagOf(object) {
    const tag = read(object, toStringTag);
    return typeof tag === 'string' && tag !== '' && !isEnumerable(object, toStringTag) ? clip(tag) : '';
  }

  // What stands before the brace: `Foo(2) [Tag] `.
  function prefix(name, tag, fallback, size = '') {
    if (name === null) {
      return tag !== '' && fallback !== tag
        ? '[' + fallback + size + ': null prototype] [' + tag + '] '
        : '[' + fallback + size + ': null prototype] ';
    }
    return tag !== '' && name !== tag ? name + size + ' [' + tag + '] ' : name + size + ' ';
  }

  // Whether a property name is an index of an array.
  function isIndex(name) {
    if (name.length === 0 || name.length > 10) return false;
    for (let i = 0; i < name.length; i++) {
      const code = charCodeAt(name, i);
      if (code < 48 || code > 57) return false;
    }
    return name === '0' || (charCodeAt(name, 0) !== 48 && +name < 4294967295);
  }

  // The properties to show, without the elements of an array or a string if `length` is given. Of a long one the
  // elements are all that is shown: to list its properties would cost a string for each element.
  function shownKeys(state, object, length = -1) {
    const names = list();
    if (length > MAX_LISTED) return names;
    const skipIndices = length >= 0;
    const all = ownKeys(object);
    state.left -= floor(all.length / 256); // so that the same huge object is not listed again and again
    for (let i = 0; i < all.length; i++) {
      const name = all[i];
      if (skipIndices && typeof name === 'string' && isIndex(name)) continue;
      if (state.showHidden || isEnumerable(object, name)) push(names, name);
    }
    return names;
  }

  // ---- Primitives ----

  const formatNumber = (value) => (value === 0 && 1 / value < 0 ? '-0' : '' + value);

  function formatString(state, value, top) {
    let rest = '';
    if (value.length > state.maxStringLength) {
      rest = more(value.length - state.maxStringLength, 'character');
      value = slice(value, 0, state.maxStringLength);
    }
    // A long text of several lines inside a container: one literal for each line.
    if (!top && value.length > 16 && value.length > LINE_CHARS - state.indent - 4 && includes(value, '\n')) {
      const lines = list();
      for (let from = 0; from < value.length;) {
        const end = indexOf(value, '\n', from);
        const to = end === -1 ? value.length : end + 1;
        push(lines, quote(slice(value, from, to)));
        from = to;
      }
      return join(lines, ' +\n' + repeat(' ', state.indent + 2)) + rest;
    }
    return quote(value) + rest;
  }

  function formatPrimitive(state, value, top) {
    switch (typeof value) {
      case 'string':
        return formatString(state, value, top);
      case 'number':
        return formatNumber(value);
      case 'bigint':
        return clip(bigintString(value) + 'n');
      case 'symbol':
        return clip(symbolString(value));
      default:
        return '' + value;
    }
  }

  // ---- Objects ----

  const custom = symbolFor('nodejs.util.inspect.custom');

  function customText(state, object, level) {
    const method = read(object, custom);
    if (typeof method !== 'function' || method === inspect) return undefined;
    const options = {
      depth: state.depth - level, showHidden: state.showHidden, maxArrayLength: state.maxArrayLength,
      maxStringLength: state.maxStringLength, stylize: toText,
    };
    const result = apply(method, object, [options.depth, options, inspect]);
    if (result === object) return undefined;
    if (typeof result !== 'string') return formatValue(state, result, level, false);
    let text = '';
    for (let from = 0; ;) {
      const end = indexOf(result, '\n', from);
      if (end === -1) return text + slice(result, from);
      text += slice(result, from, end) + '\n' + repeat(' ', state.indent);
      from = end + 1;
    }
  }

  function formatValue(state, value, level, top) {
    if (state.left <= 0) return '...';
    let text;
    if (!isObject(value)) {
      text = formatPrimitive(state, value, top);
    } else {
      const object = behindProxies(value);
      if (object === null) {
        text = '<Revoked Proxy>';
      } else {
        for (let i = 0; i < state.path.length; i++) {
          if (state.path[i] !== object) continue;
          let index = mapGet(state.circular, object);
          if (index === undefined) {
            index = ++state.circles;
            mapSet(state.circular, object, index);
          }
          return '[Circular *' + index + ']';
        }
        try {
          text = customText(state, object, level);
        } catch {
          text = undefined; // as if it had none
        }
        return text ?? formatObject(state, object, level);
      }
    }
    state.left -= text.length;
    return text;
  }

  // How each kind of object is shown: `base` before the braces, the braces, the names of the properties to show
  // after what `body` adds to the output. `whole` is a complete text instead.
  function shapeOf(state, object, level) {
    const kind = classOf(object);
    const name = constructorName(state, object, level);
    const tag = tagOf(object);
    const shape = {
      __proto__: null, base: '', open: '{', close: '}', keys: undefined, type: NAMED, body: undefined, whole: undefined, name, tag,
    };

    if (kind === 'Array') {
      const length = object.length;
      shape.keys = shownKeys(state, object, length);
      shape.open = name !== 'Array' || tag !== '' ? prefix(name, tag, 'Array', '(' + length + ')') + '[' : '[';
      shape.close = ']';
      shape.type = ARRAY;
      shape.body = arrayBody;
      if (length === 0 && shape.keys.length === 0) shape.whole = shape.open + ']';
      return shape;
    }
    if (isTypedArray[kind]) {
      const length = typedLength(object);
      shape.keys = shownKeys(state, object, length);
      shape.open = prefix(name, tag, kind, '(' + length + ')') + '[';
      shape.close = ']';
      shape.type = ARRAY;
      shape.body = typedArrayBody;
      if (length === 0 && shape.keys.length === 0) shape.whole = shape.open + ']';
      return shape;
    }
    const keys = (shape.keys = shownKeys(state, object, kind === 'String' ? object.length : -1));
    const none = keys.length === 0;
    switch (kind) {
      case 'Set':
      case 'Map': {
        const size = kind === 'Set' ? setSize(object) : mapSize(object);
        shape.open = prefix(name, tag, kind, '(' + size + ')') + '{';
        shape.body = kind === 'Set' ? setBody : mapBody;
        if (size === 0 && none) shape.whole = shape.open + '}';
        return shape;
      }
      case 'Arguments':
        shape.open = (name === 'Object' || name === null ? '' : prefix(name, tag, 'Arguments')) + '[Arguments] {';
        if (none) shape.whole = shape.open + '}';
        return shape;
      case 'Function':
      case 'GeneratorFunction':
      case 'AsyncFunction':
      case 'AsyncGeneratorFunction':
        shape.base = functionBase(object, kind, name, tag);
        if (none) shape.whole = shape.base;
        return shape;
      case 'RegExp': {
        const before = prefix(name, tag, 'RegExp');
        const text = clip('/' + regexpSource(object) + '/' + regexpFlags(object));
        shape.base = before === 'RegExp ' ? text : before + text;
        if (none || level > state.depth) shape.whole = shape.base;
        return shape;
      }
      case 'Date': {
        const before = prefix(name, tag, 'Date');
        const time = dateValue(object);
        const text = time !== time ? 'Invalid Date' : dateISO(object);
        shape.base = before === 'Date ' ? text : before + text;
        if (none) shape.whole = shape.base;
        return shape;
      }
      case 'Error':
      case 'DOMException':
        shape.base = errorBase(state, object, name, tag, keys);
        shape.keys = keys;
        if (keys.length === 0) shape.whole = shape.base;
        return shape;
      case 'ArrayBuffer':
      case 'SharedArrayBuffer':
        shape.open = prefix(name, tag, kind) + '{';
        shape.body = kind === 'ArrayBuffer' ? arrayBufferBody : undefined;
        return shape;
      case 'DataView':
        shape.open = prefix(name, tag, 'DataView') + '{';
        shape.body = dataViewBody;
        return shape;
      case 'Promise':
        shape.open = prefix(name, tag, 'Promise') + '{';
        shape.body = promiseBody;
        return shape;
      case 'WeakSet':
      case 'WeakMap':
        shape.open = prefix(name, tag, kind) + '{';
        shape.body = (state, object, level, output) => push(output, '<items unknown>');
        return shape;
      case 'Number':
      case 'String':
      case 'Boolean':
      case 'BigInt':
      case 'Symbol':
        shape.base = boxedBase(state, object, kind, name, tag);
        if (none) shape.whole = shape.base;
        return shape;
    }

    for (let i = 0; i < platform.length; i++) {
      const describe = platform[i];
      const described = describe(object);
      if (described === undefined) continue;
      shape.open = (described.name ?? name ?? kind) + ' {';
      shape.body = platformBody(described);
      if (described.entries?.length === 0) shape.whole = shape.open + '}';
      return shape;
    }
    if (name === 'Object') {
      if (tag !== '') shape.open = prefix(name, tag, 'Object') + '{';
      if (none) shape.whole = shape.open + '}';
    } else {
      shape.open = prefix(name, tag, 'Object') + '{';
      if (none) shape.whole = shape.open + '}';
    }
    return shape;
  }

  function formatObject(state, object, level) {
    let shape;
    try {
      shape = shapeOf(state, object, level);
    } catch {
      return '[' + classOf(object) + ': not inspectable]';
    }
    if (shape.whole !== undefined) {
      state.left -= shape.whole.length;
      return shape.whole;
    }
    if (level > state.depth) {
      const text = '[' + slice(prefix(shape.name, shape.tag, classOf(object) === 'Array' ? 'Array' : 'Object'), 0, -1) + ']';
      state.left -= text.length;
      return text;
    }

    level++;
    state.deepest = level;
    push(state.path, object);
    let output = list();
    const indent = state.indent;
    try {
      const { body, keys } = shape;
      if (body !== undefined) body(state, object, level, output);
      for (let i = 0; i < keys.length; i++) {
        if (state.left <= 0) {
          push(output, more(keys.length - i, 'item'));
          break;
        }
        push(output, formatProperty(state, object, level, keys[i], shape.type));
      }
    } catch {
      // The engine's stack is used up.
      state.path.length--;
      state.indent = indent;
      return '[' + (shape.name ?? classOf(object)) + ': nested too deeply]';
    }
    state.path.length--;

    let { base } = shape;
    const circle = mapGet(state.circular, object);
    if (circle !== undefined) base = base === '' ? '<ref *' + circle + '>' : '<ref *' + circle + '> ' + base;
    state.left -= base.length + shape.open.length + 4 + 2 * output.length;
    return layOut(state, output, base, shape, level, object);
  }

  // One line if it is short and holds few levels, else one line for each entry.
  function layOut(state, output, base, shape, level, object) {
    const entries = output.length;
    const before = base === '' ? '' : base + ' ';
    if (shape.type === ARRAY && entries > 6) output = groupElements(state, output, object);
    if (state.deepest - level < COMPACT_LEVELS && entries === output.length) {
      let length = output.length + (output.length + state.indent + shape.open.length + base.length + 10);
      for (let i = 0; i < output.length; i++) length += output[i].length;
      if (length <= LINE_CHARS && !includes(base, '\n')) {
        const line = join(output, ', ');
        if (!includes(line, '\n')) return before + shape.open + ' ' + line + ' ' + shape.close;
      }
    }
    const margin = '\n' + repeat(' ', state.indent);
    return before + shape.open + margin + '  ' + join(output, ',' + margin + '  ') + margin + shape.close;
  }

  // Puts the elements of an array with more than six in columns.
  function groupElements(state, output, object) {
    const hasMore = object.length > state.maxArrayLength || state.left <= 0;
    const count = hasMore ? output.length - 1 : output.length;
    const widths = list();
    let total = 0;
    let widest = 0;
    for (let i = 0; i < count; i++) {
      const columns = width(output[i]);
      push(widths, columns);
      total += columns + 2;
      widest = max(widest, columns);
    }
    const cell = widest + 2;
    if (cell * 3 + state.indent >= LINE_CHARS || !(total / cell > 5 || widest <= 6)) return output;

    // As many columns as make the block about 2.5 times as wide as it is high, in characters.
    const bias = sqrt(cell - total / output.length);
    const biased = max(cell - 3 - bias, 1);
    const columns = min(
      round(sqrt(2.5 * biased * count) / biased), floor((LINE_CHARS - state.indent) / cell), COMPACT_LEVELS * 4, 15);
    if (columns <= 1) return output;

    const columnWidths = list();
    for (let column = 0; column < columns; column++) {
      let columnWidth = 0;
      for (let i = column; i < count; i += columns) columnWidth = max(columnWidth, widths[i]);
      push(columnWidths, columnWidth + 2);
    }
    let numbers = true;
    for (let i = 0; numbers && i < output.length; i++) {
      const element = ownData(object, i);
      numbers = typeof element === 'number' || typeof element === 'bigint';
    }
    const pad = numbers ? padStart : padEnd;

    const rows = list();
    for (let from = 0; from < count; from += columns) {
      const last = min(from + columns, count) - 1;
      let row = '';
      for (let i = from; i < last; i++) {
        row += pad(output[i] + ', ', columnWidths[i - from] + output[i].length - widths[i], ' ');
      }
      row += numbers ? padStart(output[last], columnWidths[last - from] + output[last].length - widths[last] - 2, ' ') : output[last];
      push(rows, row);
    }
    if (hasMore) push(rows, output[count]);
    return rows;
  }

  function formatProperty(state, object, level, name, type) {
    let text;
    let descriptor;
    try {
      descriptor = getOwnPropertyDescriptor(object, name);
    } catch {
      descriptor = { __proto__: null, get: undefined, set: undefined, enumerable: true, unreadable: true };
    }
    if (descriptor === undefined) {
      descriptor = { __proto__: null, value: read(object, name), enumerable: true };
    }
    if (descriptor.unreadable) {
      text = '<uninitialized>';
    } else if (hasOwn(descriptor, 'value') || !('get' in descriptor)) {
      state.indent += 2;
      text = formatValue(state, descriptor.value, level, false);
      state.indent -= 2;
    } else if (descriptor.get !== undefined) {
      text = descriptor.set !== undefined ? '[Getter/Setter]' : '[Getter]';
    } else {
      text = descriptor.set !== undefined ? '[Setter]' : 'undefined';
    }
    if (type === ELEMENT) return text;

    let label;
    if (typeof name === 'symbol') label = '[' + clip(symbolString(name)) + ']';
    else if (name === '__proto__') label = "['__proto__']";
    else if (!descriptor.enumerable) label = '[' + clip(name) + ']';
    else label = quoteKey(clip(name));
    state.left -= label.length + 2;
    return label + ': ' + text;
  }

  // ---- Bodies ----

  function arrayBody(state, array, level, output) {
    const { length } = array;
    const limit = min(state.maxArrayLength, length);
    let at = 0;
    while (at < length && output.length < limit && state.left > 0) {
      if (hasOwn(array, at)) {
        push(output, formatProperty(state, array, level, at, ELEMENT));
        at++;
        continue;
      }
      const next = nextElement(array, at, length);
      const holes = next - at;
      push(output, '<' + holes + ' empty item' + (holes === 1 ? '' : 's') + '>');
      at = next;
    }
    if (at < length) push(output, more(length - at, 'item'));
  }

  // The first index from `from` that is there. A long hole is crossed by the list of the keys.
  function nextElement(array, from, length) {
    const near = min(from + 1000, length);
    for (let at = from; at < near; at++) if (hasOwn(array, at)) return at;
    if (near === length) return length;
    const names = ownKeys(array);
    for (let i = 0; i < names.length; i++) {
      if (typeof names[i] !== 'string' || !isIndex(names[i])) break;
      if (+names[i] >= near) return +names[i];
    }
    return length;
  }

  function typedArrayBody(state, array, level, output) {
    const length = typedLength(array);
    const limit = min(state.maxArrayLength, length);
    for (let at = 0; at < limit; at++) push(output, formatPrimitive(state, array[at], false));
    if (limit < length) push(output, more(length - limit, 'item'));
  }

  function setBody(state, set, level, output) {
    const size = setSize(set);
    const values = setValues(set);
    state.indent += 2;
    for (let count = 0; ; count++) {
      if (count < size && (count >= state.maxArrayLength || state.left <= 0)) {
        push(output, more(size - count, 'item'));
        break;
      }
      const step = setNext(values);
      if (step.done) break;
      push(output, formatValue(state, step.value, level, false));
    }
    state.indent -= 2;
  }

  function mapBody(state, map, level, output) {
    const size = mapSize(map);
    const entries = mapEntries(map);
    state.indent += 2;
    for (let count = 0; ; count++) {
      if (count < size && (count >= state.maxArrayLength || state.left <= 0)) {
        push(output, more(size - count, 'item'));
        break;
      }
      const step = mapNext(entries);
      if (step.done) break;
      const key = formatValue(state, step.value[0], level, false);
      push(output, key + ' => ' + formatValue(state, step.value[1], level, false));
    }
    state.indent -= 2;
  }

  function arrayBufferBody(state, buffer, level, output) {
    if (bufferDetached(buffer)) {
      push(output, '(detached)');
    } else {
      const bytes = new Uint8Array(buffer);
      const length = typedLength(bytes);
      const shown = min(length, state.maxArrayLength);
      let hex = '';
      for (let i = 0; i < shown; i++) {
        const byte = bytes[i];
        hex += (i === 0 ? '' : ' ') + '0123456789abcdef'[byte >> 4] + '0123456789abcdef'[byte & 15];
      }
      if (shown < length) hex += ' ' + more(length - shown, 'byte');
      push(output, '[Uint8Contents]: <' + hex + '>');
    }
    push(output, 'byteLength: ' + bufferLength(buffer));
  }

  function dataViewBody(state, view, level, output) {
    push(output, 'byteLength: ' + viewParts.length(view));
    push(output, 'byteOffset: ' + viewParts.offset(view));
    state.indent += 2;
    push(output, 'buffer: ' + formatValue(state, viewParts.buffer(view), level, false));
    state.indent -= 2;
  }

  function promiseBody(state, promise, level, output) {
    const settled = promiseState(promise);
    if (settled === PENDING) {
      push(output, '<pending>');
      return;
    }
    state.indent += 2;
    const text = formatValue(state, promiseResult(promise), level, false);
    state.indent -= 2;
    push(output, settled === REJECTED ? '<rejected> ' + text : text);
  }

  // An object whose state is private: what its class says about it.
  const platformBody = (described) => (state, object, level, output) => {
    const { fields, entries, items } = described;
    state.indent += 2;
    if (fields !== undefined) {
      for (let i = 0; i < fields.length; i += 2) {
        push(output, fields[i] + ': ' + formatValue(state, fields[i + 1], level, false));
      }
    }
    if (entries !== undefined) {
      for (let i = 0; i < entries.length && state.left > 0; i += 2) {
        push(output, formatValue(state, entries[i], level, false) + ' => ' + formatValue(state, entries[i + 1], level, false));
      }
    }
    if (items !== undefined) {
      for (let i = 0; i < items.length && state.left > 0; i++) push(output, formatValue(state, items[i], level, false));
    }
    state.indent -= 2;
  };

  // ---- Bases ----

  function functionBase(object, kind, name, tag) {
    const ownName = read(object, 'name');
    const called = typeof ownName === 'string' ? clip(ownName) : '';
    if (kind === 'Function') {
      const source = functionString(object);
      if (startsWith(source, 'class') && endsWith(source, '}')) {
        let base = '[class ' + (hasOwn(object, 'name') && called !== '' ? called : '(anonymous)');
        if (name !== 'Function' && name !== null) base += ' [' + name + ']';
        if (tag !== '' && name !== tag) base += ' [' + tag + ']';
        if (name === null) return base + ' extends null]';
        const parent = getPrototypeOf(object);
        const parentName = isObject(parent) ? read(behindProxies(parent) ?? object, 'name') : '';
        return typeof parentName === 'string' && parentName !== '' ? base + ' extends ' + clip(parentName) + ']' : base + ']';
      }
    }
    let base = '[' + kind + (name === null ? ' (null prototype)' : '') + (called === '' ? ' (anonymous)' : ': ' + called) + ']';
    if (name !== kind && name !== null) base += ' ' + name;
    if (tag !== '' && name !== tag) base += ' [' + tag + ']';
    return base;
  }

  function boxedBase(state, object, kind, name, tag) {
    let primitive;
    if (kind === 'Number') primitive = numberValue(object);
    else if (kind === 'String') primitive = stringValue(object);
    else if (kind === 'Boolean') primitive = booleanValue(object);
    else if (kind === 'BigInt') primitive = bigintValue(object);
    else primitive = symbolValue(object);
    let base = '[' + kind;
    if (name !== kind) base += name === null ? ' (null prototype)' : ' (' + name + ')';
    base += ': ' + formatPrimitive(state, primitive, true) + ']';
    if (tag !== '' && tag !== name) base += ' [' + tag + ']';
    return base;
  }

  // The stack trace as a script expects it: a line with the name and the message, then the frames. The engine's
  // own trace has the frames only.
  function stackText(object) {
    let stack;
    try {
      const own = getOwnPropertyDescriptor(object, 'stack');
      stack = own === undefined ? errorStack(object) : own.value;
    } catch {
      stack = undefined;
    }
    if (typeof stack === 'string' && stack !== '' && !startsWith(stack, '    at ')) return clip(stack);
    let text;
    try {
      text = clip(errorString(object));
    } catch {
      text = 'Error';
    }
    if (typeof stack !== 'string' || stack === '') return text;
    if (native.hidden !== undefined) stack = withoutHidden(stack);
    if (endsWith(stack, '\n')) stack = slice(stack, 0, -1);
    return stack === '' ? text : clip(text + '\n' + stack);
  }

  // The frames of a trace but for those in files whose names begin with `native.hidden`, and built-in functions that these call.
  function withoutHidden(stack) {
    let kept = '';
    let builtin = '';
    for (let from = 0, end; from < stack.length; from = end) {
      end = indexOf(stack, '\n', from) + 1 || stack.length;
      const frame = slice(stack, from, end);
      if (includes(frame, '(native)')) {
        builtin += frame;
        continue;
      }
      if (!includes(frame, '(' + native.hidden) && !includes(frame, 'at ' + native.hidden)) kept += builtin + frame;
      builtin = '';
    }
    return kept + builtin;
  }

  // The text of an error. Takes from `keys` what the text already shows and adds `cause` and `errors`.
  function errorBase(state, object, constructor, tag, keys) {
    const readName = read(object, 'name');
    const name = typeof readName === 'string' ? clip(readName) : 'Error';
    let stack = stackText(object);

    if (!state.showHidden) {
      let kept = 0;
      for (let i = 0; i < keys.length; i++) {
        const key = keys[i];
        if (key === 'name' || key === 'message' || key === 'stack') {
          const value = ownData(object, key);
          if (typeof value === 'string' && includes(stack, value)) continue;
        }
        keys[kept++] = key;
      }
      keys.length = kept;
    }
    for (let at = 0; at < errorParts.length; at++) {
      const name = errorParts[at];
      let present = false;
      for (let i = 0; i < keys.length; i++) present ||= keys[i] === name;
      if (!present && hasOwn(object, name) && (name === 'cause' || classOf(ownData(object, name)) === 'Array')) push(keys, name);
    }

    // The name of the class, if the trace has only that of the base class.
    const after = charCodeAt(stack, name.length);
    const startsWithName = endsWith(name, 'Error') && startsWith(stack, name) && (after !== after || after === 58 || after === 10);
    if (constructor === null || startsWithName) {
      const known = startsWith(stack, name) ? name : '';
      const shown = slice(prefix(constructor, tag, known === '' ? 'Error' : known), 0, -1);
      if (shown !== name) {
        const rest = slice(stack, known.length);
        if (!includes(shown, name)) stack = shown + ' [' + name + ']' + rest;
        else stack = known === '' ? shown + ': ' + stack : shown + rest;
      }
    }

    if (indexOf(stack, '\n    at') === -1) stack = '[' + stack + ']';
    if (state.indent === 0) return stack;
    let text = '';
    for (let from = 0; ;) {
      const end = indexOf(stack, '\n', from);
      if (end === -1) return text + slice(stack, from);
      text += slice(stack, from, end) + '\n' + repeat(' ', state.indent);
      from = end + 1;
    }
  }
  const errorParts = setPrototypeOf(['cause', 'errors'], null);

  // ---- Entry points ----

  function numberOption(value, fallback) {
    if (value === null) return Infinity;
    return typeof value === 'number' && value >= 0 ? value : fallback;
  }

  function newState(options) {
    const depth = options?.depth;
    return {
      __proto__: null,
      depth: depth === null ? MAX_DEPTH : typeof depth === 'number' ? min(depth, MAX_DEPTH) : 2,
      showHidden: options?.showHidden === true,
      maxArrayLength: numberOption(options?.maxArrayLength, 100),
      maxStringLength: numberOption(options?.maxStringLength, 10000),
      left: MAX_CHARS, // what may still be written, roughly: `bounded` makes it exact
      indent: 0,
      deepest: 0, // the level of the object that was begun last
      path: list(), // the objects being shown, outermost first
      circular: new Map(), // objects that hold themselves, and their numbers
      circles: 0,
    };
  }

  const bounded = (text) => (text.length > MAX_CHARS ? slice(text, 0, MAX_CHARS - CUT.length) + CUT : text);

  // `options`: depth (2; null for all), showHidden, maxArrayLength (100), maxStringLength (10000).
  function inspect(value, options = undefined) {
    try {
      return bounded(formatValue(newState(options), value, 0, true));
    } catch {
      return '[not inspectable]';
    }
  }

  native.inspect = inspect;
  // What the next file, format.js, needs of this one.
  native.shared = { MAX_CHARS, behindProxies, bounded, clip, formatNumber, isObject, lookup, original, ownData };
})
