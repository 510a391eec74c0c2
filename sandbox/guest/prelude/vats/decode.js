// From the JSON of a message to values: smallcaps, and @qclass of today and of 2019.
//
// - The parsed tree becomes the value: it is changed in place, and frozen from the leaves upwards.
// - What slots stand for is asked for when it is met, once for each slot.
// - Vats of both dialects read all forms: `old` decides which words an error has, and nothing else.
(function (native, runtime) {
  'use strict';
  const { TypeError, RangeError, Error, Symbol, BigInt, Number, WeakSet } = globalThis;
  const { defineProperty, freeze, hasOwn, keys } = Object;
  const { ownKeys } = Reflect;
  const { isArray } = Array;
  const { harden, hardened } = runtime;
  const { COPY_ARRAY, COPY_RECORD } = runtime.shapes;
  const { passStyleOf, passableSymbolForName, makeTagged, getErrorConstructor, toPassableError } = runtime.pass;
  const { Fail, quote: q, details: X, fail, makeError } = runtime.assert;
  const StringOf = String;
  const arrived = new WeakSet(); // errors that were thrown elsewhere
  const { isSafeInteger } = Number;
  const QCLASS = '@qclass';
  const MAX_DIGITS = 5_001; // and a sign; they cost by their square

  // No cycle is possible, and every property is data.
  const done = (record) => {
    freeze(record);
    hardened.set(record, COPY_RECORD);
    return record;
  };
  const doneArray = (array) => {
    freeze(array);
    hardened.set(array, COPY_ARRAY);
    return array;
  };

  function put(object, name, value) {
    if (name === '__proto__') defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
    else object[name] = value;
  }

  function toIndex(alleged) {
    if (isSafeInteger(alleged) && alleged >= 0) return alleged;
    if (typeof alleged === 'bigint' ? alleged < 0n : isSafeInteger(alleged) && alleged < 0) throw new RangeError(`${alleged} is negative`);
    if (typeof alleged === 'number' && !isSafeInteger(alleged)) throw new RangeError(`${alleged} is not a safe integer`);
    if (typeof alleged !== 'number' && typeof alleged !== 'bigint') {
      throw new TypeError(`${StringOf(alleged)} is a ${typeof alleged} but must be a bigint or a number`);
    }
    return Number(alleged);
  }

  // The value of a decoder's slot. `values` are those that were asked for before.
  function slotAt(decoder, index, iface) {
    const { values } = decoder;
    let value = values === undefined ? undefined : values[index];
    if (value === undefined) {
      value = harden(decoder.toValue(decoder.list[toIndex(index)], iface));
      if (values === undefined) decoder.values = [];
      decoder.values[index] = value;
    }
    return value;
  }

  // An error of today; `data` has decoded strings under `name` and `message`.
  function makeErrorOf(data, decode) {
    const { errorId: _, message, name, cause, errors, ...rest } = data;
    const itsName = decode(name);
    const itsMessage = decode(message);
    if (typeof itsName !== 'string') throw Fail`invalid error name typeof ${q(typeof itsName)}`;
    if (typeof itsMessage !== 'string') throw Fail`invalid error message typeof ${q(typeof itsMessage)}`;
    const options = { sanitize: false };
    if (cause) options.cause = decode(cause);
    if (errors) options.errors = decode(errors);
    const error = makeError(itsMessage, getErrorConstructor(itsName) || Error, options);
    for (const key of ownKeys(rest)) {
      defineProperty(error, key, { value: decode(rest[key]), writable: false, enumerable: false, configurable: false });
    }
    const passable = toPassableError(harden(error));
    arrived.add(passable);
    return passable;
  }

  // --- smallcaps ---

  const BANG = 33, HASH = 35, DOLLAR = 36, PERCENT = 37, AMPERSAND = 38, PLUS = 43, DASH = 45;

  class Smallcaps {
    constructor(list, toValue) {
      this.list = list;
      this.toValue = toValue;
      this.values = undefined;
    }

    value(encoding) {
      switch (typeof encoding) {
        case 'string': {
          const code = encoding.charCodeAt(0);
          return code >= BANG && code <= DASH ? this.special(encoding, code) : encoding;
        }
        case 'object':
          return encoding === null ? null : isArray(encoding) ? doneArray(this.elements(encoding)) : this.object(encoding);
        case 'undefined':
          throw fail(X`internal: unrecognized JSON typeof ${q('undefined')}: ${undefined}`, TypeError);
        default:
          return encoding;
      }
    }

    // Decodes in place; the array stays open.
    elements(array) {
      const { length } = array;
      for (let i = 0; i < length; i++) {
        const encoding = array[i];
        // Most things stand for themselves.
        if (typeof encoding === 'number') continue;
        const value = this.value(encoding);
        if (value !== encoding) array[i] = value;
      }
      return array;
    }

    special(encoding, code) {
      switch (code) {
        case BANG: return encoding.slice(1);
        case PERCENT: return passableSymbolForName(encoding.slice(1));
        case HASH:
          switch (encoding) {
            case '#undefined': return undefined;
            case '#NaN': return NaN;
            case '#Infinity': return Infinity;
            case '#-Infinity': return -Infinity;
            default: throw fail(X`unknown constant "${q(encoding)}"`, TypeError);
          }
        case PLUS:
        case DASH: return BigInt(encoding);
        case DOLLAR: {
          const value = this.slot(encoding);
          if (passStyleOf(value) !== 'remotable') {
            Fail`internal: decodeRemotableFromSmallcaps option must return a remotable: ${value}`;
          }
          return value;
        }
        case AMPERSAND: {
          const value = this.slot(encoding);
          if (passStyleOf(value) !== 'promise') {
            Fail`internal: decodePromiseFromSmallcaps option must return a promise: ${value}`;
          }
          return value;
        }
        default:
          throw Fail`Special char ${q(encoding[0])} reserved for future use: ${encoding}`;
      }
    }

    slot(encoding) {
      const dot = encoding.indexOf('.');
      return dot < 0 ? slotAt(this, +encoding.slice(1), undefined) : slotAt(this, +encoding.slice(1, dot), encoding.slice(dot + 1));
    }

    object(encoding) {
      const names = keys(encoding);
      let isPlain = true;
      for (let i = 0; i < names.length; i++) {
        const code = names[i].charCodeAt(0);
        if (code >= BANG && code <= DASH) isPlain = false;
      }
      if (!isPlain) return this.unusual(encoding, names);
      for (let i = 0; i < names.length; i++) {
        const inner = encoding[names[i]];
        const value = this.value(inner);
        if (value !== inner) put(encoding, names[i], value);
      }
      return done(encoding);
    }

    unusual(encoding, names) {
      if (hasOwn(encoding, '#tag')) {
        const { '#tag': tag, payload, ...rest } = encoding;
        if (typeof tag !== 'string') Fail`Value of "#tag", the tag, must be a string: ${encoding}`;
        if (ownKeys(rest).length > 0) Fail`#tag record unexpected properties: ${q(ownKeys(rest))}`;
        return makeTagged(this.value(tag), this.value(payload));
      }
      if (hasOwn(encoding, '#error')) {
        const { '#error': message, ...rest } = encoding;
        if (hasOwn(rest, 'message')) Fail`unexpected encoded error property ${q('message')}`;
        return makeErrorOf({ message, ...rest }, (inner) => this.value(inner));
      }
      const result = {};
      for (const encoded of names) {
        if (encoded[0] === '#') Fail`Unrecognized record type ${q(encoded)}: ${encoding}`;
        const name = this.value(encoded);
        if (typeof name !== 'string') Fail`Decoded property name ${name} from ${encoding} must be a string`;
        put(result, name, this.value(encoding[encoded]));
      }
      return done(result);
    }
  }

  // --- @qclass ---

  class CapData {
    constructor(list, toValue, old, cycles) {
      this.list = list;
      this.toValue = toValue;
      this.values = undefined;
      this.ibids = [];
      this.old = old;
      this.cycles = cycles;
    }

    value(encoding) {
      if (typeof encoding !== 'object' || encoding === null) return encoding;
      if (isArray(encoding)) return doneArray(this.elements(encoding));
      if (hasOwn(encoding, QCLASS)) return this.special(encoding, encoding[QCLASS]);
      this.ibids.push(encoding);
      const names = keys(encoding);
      for (let i = 0; i < names.length; i++) {
        const inner = encoding[names[i]];
        const value = this.value(inner);
        if (value !== inner) put(encoding, names[i], value);
      }
      return done(encoding);
    }

    elements(array) {
      this.ibids.push(array);
      const { length } = array;
      for (let i = 0; i < length; i++) {
        const encoding = array[i];
        if (typeof encoding !== 'object') continue;
        const value = this.value(encoding);
        if (value !== encoding) array[i] = value;
      }
      return array;
    }

    special(encoding, qclass) {
      if (typeof qclass !== 'string') {
        if (this.old) throw new TypeError(`invalid qclass typeof ${typeof qclass}`);
        Fail`invalid ${q(QCLASS)} typeof ${q(typeof qclass)}`;
      }
      switch (qclass) {
        case 'undefined': return undefined;
        case '-0': return -0;
        case 'NaN': return NaN;
        case 'Infinity': return Infinity;
        case '-Infinity': return -Infinity;
        case '@@asyncIterator': return Symbol.asyncIterator;
        case 'bigint': {
          const { digits } = encoding;
          if (typeof digits !== 'string') {
            if (this.old) throw new TypeError(`invalid digits typeof ${typeof digits}`);
            Fail`invalid digits typeof ${q(typeof digits)}`;
          }
          if (digits.length > MAX_DIGITS) throw new RangeError('too many digits');
          return BigInt(digits);
        }
        case 'symbol': {
          const { key, name } = encoding;
          if (name !== undefined || (key === undefined && !this.old)) return passableSymbolForName(name);
          if (typeof key !== 'string') throw new TypeError(`invalid symbol key typeof ${typeof key}`);
          return Symbol.for(key);
        }
        case 'slot': {
          const { iface, index, [QCLASS]: _, ...rest } = encoding;
          if (ownKeys(rest).length > 0 && !this.old) Fail`unexpected encoded slot properties ${q(ownKeys(rest))}`;
          const value = slotAt(this, index, iface);
          this.ibids.push(value);
          return value;
        }
        case 'error': return this.error(encoding);
        case 'ibid': {
          const { index } = encoding;
          if (!isSafeInteger(index)) throw new RangeError('not a safe integer');
          if (index < 0) throw new RangeError('negative');
          return this.ibid(index);
        }
        case 'tagged': return makeTagged(encoding.tag, this.value(encoding.payload));
        case 'hilbert': return this.hilbert(encoding);
        default:
          if (this.old) throw new TypeError(`unrecognized ${QCLASS} ${qclass}`);
          throw fail(X`unrecognized ${q(QCLASS)} ${q(qclass)}`, TypeError);
      }
    }

    // A container is finished when it is frozen.
    ibid(index) {
      if (index >= this.ibids.length) throw new RangeError(`ibid out of range: ${index}`);
      const value = this.ibids[index];
      if (!runtime.isHardened(value) && this.cycles !== 'allowCycles' && this.cycles !== 'warnOfCycles') {
        if (this.cycles !== 'forbidCycles') throw new TypeError(`Unrecognized cycle policy: ${this.cycles}`);
        throw new TypeError(`Ibid cycle at ${index}`);
      }
      return value;
    }

    error(encoding) {
      let error;
      if (this.old || encoding.errorId === undefined) {
        const { name, message } = encoding;
        if (this.old && typeof name !== 'string') throw new TypeError(`invalid error name typeof ${typeof name}`);
        if (this.old && typeof message !== 'string') throw new TypeError(`invalid error message typeof ${typeof message}`);
        if (this.old) {
          error = harden(new (getErrorConstructor(name) || Error)(message));
          arrived.add(error);
        }
      }
      if (error === undefined) {
        const { [QCLASS]: _, ...data } = encoding;
        error = makeErrorOf(data, (inner) => this.value(inner));
      }
      this.ibids.push(error);
      return error;
    }

    hilbert(encoding) {
      const { original, rest } = encoding;
      if (!hasOwn(encoding, 'original')) Fail`Invalid Hilbert Hotel encoding ${encoding}`;
      const result = { [QCLASS]: this.value(original) };
      if (hasOwn(encoding, 'rest')) {
        if (typeof rest !== 'object' || rest === null || ownKeys(rest).length === 0) {
          throw Fail`Rest encoding must be a non-empty object: ${rest}`;
        }
        const more = this.value(rest);
        if (hasOwn(more, QCLASS)) Fail`Rest must not contain its own definition of ${q(QCLASS)}`;
        for (const name of ownKeys(more)) put(result, name, more[name]);
      }
      return done(result);
    }
  }

  runtime.decoders = harden({ Smallcaps, CapData });
  runtime.arrivedErrors = arrived;
})
