// A line of console.log: `native.format(list)`, with the % directives of Node's `util.format`. Like `native.inspect` it never
// throws, and its output has at most MAX_CHARS. Scripts run only for %s of an object with a `toString` of its own, %j, %d, %i
// and %f.
(function (native) {
  'use strict';

  const { Object: ObjectConstructor, Array, BigInt, Boolean, Date, Error, Function, JSON, Number, String, Symbol } = globalThis;
  const { setPrototypeOf } = ObjectConstructor;
  const { parseFloat, parseInt } = Number;
  const { stringify } = JSON;
  const { classOf, inspect, text: toText, uncurry } = native;
  const { MAX_CHARS, behindProxies, bounded, clip, formatNumber, isObject, lookup, original, ownData } = native.shared;
  delete native.shared;

  const includes = uncurry(String.prototype.includes);
  const indexOf = uncurry(String.prototype.indexOf);
  const slice = uncurry(String.prototype.slice);
  const hasOwn = uncurry(ObjectConstructor.prototype.hasOwnProperty);
  const bigintString = uncurry(BigInt.prototype.toString);
  const symbolString = uncurry(Symbol.prototype.toString);

  // The `toString` of the language itself: %s shows such objects with inspect.
  const builtinToString = setPrototypeOf([
    ObjectConstructor.prototype.toString, Array.prototype.toString, Error.prototype.toString, Date.prototype.toString,
    globalThis.RegExp.prototype.toString, Function.prototype.toString, Number.prototype.toString, String.prototype.toString,
    Boolean.prototype.toString, BigInt.prototype.toString, Symbol.prototype.toString,
  ], null);

  // Whether %s shows an object with inspect: it has no `toString` but the language's.
  function hasBuiltinToString(object) {
    object = behindProxies(object);
    if (object === null) return true;
    const descriptor = lookup(object, 'toString');
    if (descriptor === undefined) return true;
    const value = original(descriptor);
    if (value === undefined && !hasOwn(descriptor, 'value')) return false;
    if (typeof value !== 'function') return true;
    for (let i = 0; i < builtinToString.length; i++) if (builtinToString[i] === value) return true;
    return false;
  }

  function directive(letter, value) {
    switch (letter) {
      case 's':
        if (typeof value === 'number') return formatNumber(value);
        if (typeof value === 'bigint') return bigintString(value) + 'n';
        if (typeof value === 'symbol') return symbolString(value);
        if (typeof value === 'object' && value !== null && hasBuiltinToString(value)) return inspect(value, { __proto__: null, depth: 0 });
        return toText(value);
      case 'd':
        if (typeof value === 'bigint') return bigintString(value) + 'n';
        return typeof value === 'symbol' ? 'NaN' : formatNumber(+value);
      case 'i':
        if (typeof value === 'bigint') return bigintString(value) + 'n';
        return typeof value === 'symbol' ? 'NaN' : formatNumber(parseInt(value));
      case 'f':
        return typeof value === 'symbol' ? 'NaN' : formatNumber(parseFloat(value));
      case 'j':
        return '' + stringify(value);
      case 'o':
        return inspect(value, { __proto__: null, showHidden: true, depth: 4 });
      case 'O':
        return inspect(value);
      default:
        return '';
    }
  }

  function directiveText(letter, value) {
    try {
      return clip(directive(letter, value));
    } catch (error) {
      if (letter === 'j' && isCircular(error)) return '[Circular]';
      return inspect(value, { __proto__: null, depth: 0 });
    }
  }

  function isCircular(error) {
    const message = isObject(error) && classOf(error) === 'Error' ? ownData(error, 'message') : undefined;
    return typeof message === 'string' && includes(message, 'ircular');
  }

  // The text of a console line: `args` is an array.
  function format(args) {
    try {
      let next = 0;
      let text = '';
      const first = args[0];
      if (typeof first === 'string') {
        next = 1;
        if (args.length === 1) return bounded(first);
        let from = 0;
        for (let at = indexOf(first, '%'); at !== -1 && at + 1 < first.length && text.length <= MAX_CHARS; at = indexOf(first, '%', at)) {
          const letter = first[at + 1];
          if (letter === '%') {
            text += slice(first, from, at + 1);
            from = at += 2;
          } else if (next < args.length && includes('sdifjoOc', letter)) {
            text += slice(first, from, at) + directiveText(letter, args[next++]);
            from = at += 2;
          } else {
            at++;
          }
        }
        text += slice(first, from);
      }
      for (let separator = next === 0 ? '' : ' '; next < args.length && text.length <= MAX_CHARS; next++, separator = ' ') {
        const value = args[next];
        text += separator + (typeof value === 'string' ? value : inspect(value));
      }
      return bounded(text);
    } catch {
      return '[not inspectable]';
    }
  }

  native.format = format;
})
