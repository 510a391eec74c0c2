// Keys of collections as texts whose order is that of the keys: first by type, then by value.
//
//   strings     s, and the string                         numbers  f, and 16 hex digits: negative ones with all bits inverted,
//   bigints     p or n, the number of digits, a colon,              others with the sign inverted
//               the digits; n has them as complements     booleans btrue, bfalse     null v     undefined z
//   symbols     y, and the name                           remotables r, ten digits of an ordinal, a colon, the vref
(function (native, runtime) {
  'use strict';
  const { BigInt, DataView, ArrayBuffer } = globalThis;
  const { Fail } = runtime.assert;
  const { passStyleOf, nameForPassableSymbol, passableSymbolForName, getTag } = runtime.pass;
  const { isKey } = runtime.patterns;

  const ORDINAL_DIGITS = 10;
  const view = new DataView(new ArrayBuffer(8));
  const hex = (word) => word.toString(16).padStart(8, '0');

  function encodeNumber(number) {
    view.setFloat64(0, number === 0 ? 0 : number);
    let high = view.getUint32(0), low = view.getUint32(4);
    if (number !== number) [high, low] = [0x7ff80000, 0];
    if (number < 0) [high, low] = [~high >>> 0, ~low >>> 0];
    else high = (high ^ 0x80000000) >>> 0;
    return 'f' + hex(high) + hex(low);
  }

  function decodeNumber(text) {
    let high = parseInt(text.slice(1, 9), 16), low = parseInt(text.slice(9), 16);
    if (high < 0x80000000) [high, low] = [~high >>> 0, ~low >>> 0];
    else high = (high ^ 0x80000000) >>> 0;
    view.setUint32(0, high);
    view.setUint32(4, low);
    return view.getFloat64(0);
  }

  function encodeBigInt(value) {
    const digits = `${value < 0n ? -value : value}`;
    const count = `${digits.length}`;
    if (value >= 0n) return `p${'~'.repeat(count.length - 1)}${count}:${digits}`;
    const complement = `${10 ** count.length - digits.length}`.padStart(count.length, '0');
    const rest = `${10n ** BigInt(digits.length) + value}`.padStart(digits.length, '0');
    return `n${'#'.repeat(count.length - 1)}${complement}:${rest}`;
  }

  function decodeBigInt(text) {
    const digits = text.slice(text.indexOf(':') + 1);
    return text[0] === 'p' ? BigInt(digits) : BigInt(digits) - 10n ** BigInt(digits.length);
  }

  // `remotable` gives the text of a remotable. What is no scalar has no text.
  function encode(key, remotable) {
    switch (typeof key) {
      case 'string':
        passStyleOf(key);
        return 's' + key;
      case 'number': return encodeNumber(key);
      case 'bigint': return encodeBigInt(key);
      case 'boolean': return key ? 'btrue' : 'bfalse';
      case 'undefined': return 'z';
      case 'symbol': return 'y' + nameForPassableSymbol(key);
      default: {
        if (key === null) return 'v';
        const style = passStyleOf(key);
        if (style !== 'remotable') Fail`a ${runtime.assert.quote(style)} cannot be encoded as a key`;
        return remotable(key);
      }
    }
  }

  function decode(text, remotable) {
    switch (text[0]) {
      case 's': return text.slice(1);
      case 'f': return decodeNumber(text);
      case 'p':
      case 'n': return decodeBigInt(text);
      case 'b': return text === 'btrue';
      case 'z': return undefined;
      case 'v': return null;
      case 'y': return passableSymbolForName(text.slice(1));
      case 'r': return remotable(text.slice(1 + ORDINAL_DIGITS + 1));
      default: return Fail`invalid database key: ${text}`;
    }
  }

  const ordinalText = (ordinal, vref) => `r${ordinal.padStart(ORDINAL_DIGITS, '0')}:${vref}`;

  // ---- ranges ----

  const ALL = ['', '{'];
  const ranges = { boolean: ['b', 'c'], number: ['f', 'g'], bigint: ['n', 'q'], remotable: ['r', 's'], string: ['s', 't'],
    null: ['v', 'w'], symbol: ['y', 'z'], undefined: ['z', '{'] };
  const rangeOfKind = (kind) => ranges[kind] ?? ALL;
  const later = (a, b) => (a > b ? a : b);
  const earlier = (a, b) => (a < b ? a : b);
  const isBound = (pattern) => ranges[passStyleOf(pattern)] !== undefined;

  // Where keys that match a pattern can be: [from, before]. Some of those there may not match.
  function cover(pattern, remotable) {
    if (isKey(pattern)) {
      if (!isBound(pattern)) return ALL;
      const text = encode(pattern, remotable);
      return [text, `${text}~`];
    }
    if (passStyleOf(pattern) !== 'tagged') return ALL;
    const { payload } = pattern;
    switch (getTag(pattern)) {
      case 'match:and': return payload.map((part) => cover(part, remotable))
        .reduce(([a, b], [c, d]) => [later(a, c), earlier(b, d)], ALL);
      case 'match:or': return payload.length === 0 ? ALL
        : payload.map((part) => cover(part, remotable)).reduce(([a, b], [c, d]) => [earlier(a, c), later(b, d)]);
      case 'match:kind': return rangeOfKind(payload);
      case 'match:bigint':
      case 'match:nat': return ranges.bigint;
      case 'match:string': return ranges.string;
      case 'match:symbol': return ranges.symbol;
      case 'match:remotable': return ranges.remotable;
      case 'match:lt':
      case 'match:lte': return isBound(payload) ? [rangeOfKind(passStyleOf(payload))[0], `${encode(payload, remotable)}~`] : ALL;
      case 'match:gt':
      case 'match:gte': return isBound(payload) ? [encode(payload, remotable), rangeOfKind(passStyleOf(payload))[1]] : ALL;
      default: return ALL;
    }
  }

  runtime.keys = { encode, decode, cover, ordinalText };
})
