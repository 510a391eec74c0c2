// From values to the JSON of a message: smallcaps, today's @qclass, and that of 2019.
//
// - JSON is written directly, without a tree of objects in between; it is the same as JSON.stringify's of that tree.
// - What goes by reference has a slot; slots are numbered in the order in which their values are met.
// - `value` and `array` of an encoder give JSON, `take` the slots of what it has given since the last time.
(function (native, runtime) {
  'use strict';
  const { Map, TypeError, Symbol } = globalThis;
  const { keys } = Object;
  const { stringify } = JSON;
  const { toStringTag } = Symbol;
  const { passStyleOf2019, harden, hardened } = runtime;
  const { COPY_ARRAY, COPY_RECORD } = runtime.shapes;
  const isWellFormed = Function.prototype.call.bind(String.prototype.isWellFormed);
  const { passStyleOf, nameForPassableSymbol, isErrorLike } = runtime.pass;
  const { Fail, quote: q, details: X, fail } = runtime.assert;
  const StringOf = String;
  const QCLASS = '@qclass';

  // --- What all forms share ---

  const MAX_SCANNED_SLOTS = 8;

  const NONE = harden([]);

  // The number of a value's slot, or -1 - number if this is its first use.
  function slotOf(encoder, value) {
    const { values } = encoder;
    if (values === undefined) {
      encoder.list = [encoder.toSlot(value)];
      encoder.values = [value];
      return -1;
    }
    const count = values.length;
    if (count <= MAX_SCANNED_SLOTS) {
      for (let i = 0; i < count; i++) if (values[i] === value) return i;
    } else {
      if (encoder.index === undefined) encoder.index = new Map(values.map((item, i) => [item, i]));
      const known = encoder.index.get(value);
      if (known !== undefined) return known;
    }
    encoder.list.push(encoder.toSlot(value));
    values.push(value);
    if (encoder.index !== undefined) encoder.index.set(value, count);
    return -1 - count;
  }

  // An encoder is used for one message after the other. These are its slots; it forgets them.
  function takeSlots(encoder) {
    const { list } = encoder;
    if (list !== NONE) {
      encoder.list = NONE;
      encoder.values = undefined;
      encoder.index = undefined;
    }
    return list;
  }

  // Names of properties and methods come again and again.
  const texts = new Map();
  const MAX_TEXTS = 1000;
  const MAX_TEXT_CHARS = 40;
  function quotedName(name) {
    let text = texts.get(name);
    if (text === undefined) {
      text = stringify(name);
      if (texts.size < MAX_TEXTS && name.length <= MAX_TEXT_CHARS) texts.set(name, text);
    }
    return text;
  }

  const isDigit = (code) => code >= 48 && code <= 57;

  // Names in the order in which an object has them that was given them sorted: indices come first, as numbers.
  const isIndex = /^(0|[1-9][0-9]{0,9})$/;
  const MAX_INDEX = 4294967294;
  function orderOf(names) {
    if (names.length < 2) return names;
    let sorted = true;
    for (let i = 1; i < names.length; i++) {
      if (names[i - 1] > names[i]) {
        sorted = false;
        break;
      }
    }
    if (!sorted) names.sort();
    // Digits come before letters, so that the last name tells little and the first of them much.
    for (let i = 0; i < names.length; i++) {
      const code = names[i].charCodeAt(0);
      if (isDigit(code)) {
        const indices = names.filter((name) => isIndex.test(name) && +name <= MAX_INDEX).sort((a, b) => a - b);
        return [...indices, ...names.filter((name) => !isIndex.test(name) || +name > MAX_INDEX)];
      }
      if (code > 57) break;
    }
    return names;
  }

  // --- smallcaps ---

  const BANG = 33;
  const DASH = 45;

  function smallcapsString(text) {
    const code = text.charCodeAt(0);
    return code >= BANG && code <= DASH ? stringify('!' + text) : stringify(text);
  }
  function smallcapsName(text) {
    const code = text.charCodeAt(0);
    return code >= BANG && code <= DASH ? stringify('!' + text) : quotedName(text);
  }

  class Smallcaps {
    constructor(toSlot, errorId) {
      this.toSlot = toSlot;
      this.errorId = errorId; // (error) => text, or undefined for none
      this.list = NONE;
      this.values = undefined;
      this.index = undefined;
    }

    take() { return takeSlots(this); }

    root(value) { return '#' + (isErrorLike(value) ? this.error(value) : this.value(value)); }

    value(value) {
      switch (typeof value) {
        case 'string':
          if (!isWellFormed(value)) passStyleOf(value);
          return smallcapsString(value);
        case 'number':
          return value - value === 0 ? '' + value : `"#${value}"`;
        case 'boolean':
          return value ? 'true' : 'false';
        case 'undefined':
          return '"#undefined"';
        case 'bigint':
          return value < 0n ? `"${value}"` : `"+${value}"`;
        case 'symbol':
          passStyleOf(value);
          return stringify('%' + nameForPassableSymbol(value));
        default:
          return value === null ? 'null' : this.object(value);
      }
    }

    record(record) {
      const names = orderOf(keys(record));
      let text = '{';
      for (let i = 0; i < names.length; i++) {
        const name = names[i];
        text += (i === 0 ? '' : ',') + smallcapsName(name) + ':' + this.value(record[name]);
      }
      return text + '}';
    }

    object(value) {
      const shape = hardened.get(value);
      if (shape === COPY_ARRAY) return this.array(value);
      if (shape === COPY_RECORD) return this.record(value);
      const style = passStyleOf(value);
      switch (style) {
        case 'remotable': {
          const index = slotOf(this, value);
          return index >= 0 ? `"$${index}"` : `"$${-1 - index}.${quotedName(value[toStringTag]).slice(1)}`;
        }
        case 'promise': {
          const index = slotOf(this, value);
          return `"&${index >= 0 ? index : -1 - index}"`;
        }
        case 'copyArray':
          return this.array(value);
        case 'copyRecord':
          return this.record(value);
        case 'tagged':
          return `{"#tag":${smallcapsString(value[toStringTag])},"payload":${this.value(value.payload)}}`;
        case 'error':
          return this.error(value);
        case 'byteArray':
          throw Fail`marsal of byteArray not yet implemented: ${value}`;
        default:
          throw fail(X`internal: Unrecognized passStyle ${q(style)}`, TypeError);
      }
    }

    // An array whose elements pass; the array itself need not be frozen.
    array(array) {
      const { length } = array;
      let text = '[';
      for (let i = 0; i < length; i++) text += i === 0 ? this.value(array[i]) : ',' + this.value(array[i]);
      return text + ']';
    }

    error(error) {
      const message = smallcapsString(`${error.message}`);
      const name = smallcapsString(`${error.name}`);
      if (this.errorId === undefined) return `{"#error":${message},"name":${name}}`;
      return `{"#error":${message},"errorId":${smallcapsString(this.errorId(error))},"name":${name}}`;
    }
  }

  // --- Today's @qclass ---

  const UNDEFINED = '{"@qclass":"undefined"}';

  class CapData {
    constructor(toSlot, errorId) {
      this.toSlot = toSlot;
      this.errorId = errorId; // (error) => text, or undefined for none
      this.list = NONE;
      this.values = undefined;
      this.index = undefined;
    }

    take() { return takeSlots(this); }

    root(value) { return isErrorLike(value) ? this.error(value) : this.value(value); }

    value(value) {
      switch (typeof value) {
        case 'string':
          if (!isWellFormed(value)) passStyleOf(value);
          return stringify(value);
        case 'number':
          return value - value === 0 ? '' + value : `{"@qclass":"${value}"}`;
        case 'boolean':
          return value ? 'true' : 'false';
        case 'undefined':
          return UNDEFINED;
        case 'bigint':
          return `{"@qclass":"bigint","digits":"${value}"}`;
        case 'symbol':
          passStyleOf(value);
          return `{"@qclass":"symbol","name":${stringify(nameForPassableSymbol(value))}}`;
        default:
          return value === null ? 'null' : this.object(value);
      }
    }

    object(value) {
      if (hardened.get(value) === COPY_ARRAY) return this.array(value);
      const style = passStyleOf(value);
      switch (style) {
        case 'remotable': {
          const index = slotOf(this, value);
          return index >= 0 ? `{"@qclass":"slot","index":${index}}`
            : `{"@qclass":"slot","iface":${stringify(value[toStringTag])},"index":${-1 - index}}`;
        }
        case 'promise': {
          const index = slotOf(this, value);
          return `{"@qclass":"slot","index":${index >= 0 ? index : -1 - index}}`;
        }
        case 'copyArray':
          return this.array(value);
        case 'copyRecord': {
          const names = keys(value);
          if (!names.includes(QCLASS)) return this.record(value, names);
          const rest = names.filter((name) => name !== QCLASS);
          const original = `{"@qclass":"hilbert","original":${this.value(value[QCLASS])}`;
          return rest.length === 0 ? `${original}}` : `${original},"rest":${this.record(value, rest)}}`;
        }
        case 'tagged':
          return `{"@qclass":"tagged","tag":${stringify(value[toStringTag])},"payload":${this.value(value.payload)}}`;
        case 'error':
          return this.error(value);
        case 'byteArray':
          throw Fail`marsal of byteArray not yet implemented: ${value}`;
        default:
          throw fail(X`internal: Unrecognized passStyle ${q(style)}`, TypeError);
      }
    }

    array(array) {
      const { length } = array;
      let text = '[';
      for (let i = 0; i < length; i++) text += i === 0 ? this.value(array[i]) : ',' + this.value(array[i]);
      return text + ']';
    }

    record(record, unordered) {
      const names = orderOf(unordered);
      let text = '{';
      for (let i = 0; i < names.length; i++) text += (i === 0 ? '' : ',') + quotedName(names[i]) + ':' + this.value(record[names[i]]);
      return text + '}';
    }

    error(error) {
      const message = stringify(`${error.message}`);
      const name = stringify(`${error.name}`);
      const id = this.errorId === undefined ? '' : `"errorId":${stringify(this.errorId(error))},`;
      return `{"@qclass":"error",${id}"message":${message},"name":${name}}`;
    }
  }

  // --- @qclass of 2019 ---

  // Objects are numbered in the order in which they are met; the second time one is met, its number goes.
  class Ibids {
    constructor() {
      this.list = [];
      this.index = undefined;
    }

    clear() {
      this.list.length = 0;
      this.index = undefined;
    }

    // The number of an object that was met before, else -1.
    meet(object) {
      const { list } = this;
      const count = list.length;
      if (count <= MAX_SCANNED_SLOTS) {
        for (let i = 0; i < count; i++) if (list[i] === object) return i;
      } else {
        if (this.index === undefined) this.index = new Map(list.map((item, i) => [item, i]));
        const known = this.index.get(object);
        if (known !== undefined) return known;
        this.index.set(object, count);
      }
      list.push(object);
      return -1;
    }
  }

  class CapData2019 {
    constructor(toSlot) {
      this.toSlot = toSlot;
      this.list = NONE;
      this.values = undefined;
      this.index = undefined;
      this.ibids = new Ibids();
    }

    take() {
      this.ibids.clear();
      return takeSlots(this);
    }

    root(value) { return this.value(value, ''); }

    value(item, key) {
      let value = item;
      // As JSON.stringify does: a date becomes its text.
      if (typeof value === 'object' && value !== null && typeof value.toJSON === 'function') value = value.toJSON(key);
      switch (typeof value) {
        case 'string':
          return stringify(value);
        case 'number':
          if (value === 0) return 1 / value < 0 ? '{"@qclass":"-0"}' : '0';
          return value - value === 0 ? '' + value : `{"@qclass":"${value}"}`;
        case 'boolean':
          return value ? 'true' : 'false';
        case 'undefined':
          return UNDEFINED;
        case 'bigint':
          return `{"@qclass":"bigint","digits":"${value}"}`;
        case 'symbol':
          passStyleOf2019(value);
          return `{"@qclass":"symbol","key":${stringify(Symbol.keyFor(value))}}`;
        default:
          return value === null ? 'null' : this.object(value);
      }
    }

    object(value) {
      const style = passStyleOf2019(value);
      const known = this.ibids.meet(value);
      if (known >= 0) return `{"@qclass":"ibid","index":${known}}`;
      switch (style) {
        case 'presence':
        case 'promise': {
          const index = slotOf(this, value);
          return `{"@qclass":"slot","index":${index >= 0 ? index : -1 - index}}`;
        }
        case 'copyArray':
          return this.elements(value);
        case 'copyRecord': {
          const names = keys(value);
          let text = '{';
          for (let i = 0; i < names.length; i++) {
            text += (i === 0 ? '' : ',') + quotedName(names[i]) + ':' + this.value(value[names[i]], names[i]);
          }
          return text + '}';
        }
        case 'copyError':
          return `{"@qclass":"error","name":${stringify(`${value.name}`)},"message":${stringify(`${value.message}`)}}`;
        default:
          throw new TypeError(`unrecognized passStyle ${style}`);
      }
    }

    elements(array) {
      const { length } = array;
      let text = '[';
      for (let i = 0; i < length; i++) text += i === 0 ? this.value(array[0], '0') : ',' + this.value(array[i], StringOf(i));
      return text + ']';
    }

    array(array) {
      this.ibids.meet(array);
      return this.elements(array);
    }
  }

  runtime.encoders = harden({ Smallcaps, CapData, CapData2019, quotedName });
})
