// `assert`: checks that throw, and texts for errors that show only what they are told to show.
//
// `details` makes a token from a template; `quote` marks what may be shown in it. With REDACT, what is not quoted is shown
// by its type alone, as in "(an object)".
(function (native, runtime) {
  'use strict';
  const { freeze, defineProperty, getOwnPropertyDescriptors, is, keys, fromEntries } = Object;
  const { ownKeys } = Reflect;
  const { Error, TypeError, RangeError, AggregateError, Set, WeakMap } = globalThis;
  const { isArray } = Array;
  const { isError } = Error;
  const { stringify } = JSON;
  const { toStringTag } = Symbol;
  const StringOf = String;

  const REDACT = false;

  const an = (text) => {
    const word = `${text}`;
    return word.length > 0 && 'aeiouAEIOU'.includes(word[0]) ? `an ${word}` : `a ${word}`;
  };

  // Properties in order of their names.
  function sorted(record) {
    const names = keys(record);
    for (let i = 1; i < names.length; i++) {
      if (names[i - 1] >= names[i]) return fromEntries(names.sort().map((name) => [name, record[name]]));
    }
    return record;
  }

  // JSON that also has a word for what JSON has none for; never throws.
  function show(value, spaces) {
    const seen = new Set();
    const replace = (_, item) => {
      switch (typeof item) {
        case 'object':
          if (item === null) return null;
          if (seen.has(item)) return '[Seen]';
          seen.add(item);
          if (isError(item)) return `[${item.name}: ${item.message}]`;
          if (toStringTag in item) return `[${item[toStringTag]}]`;
          return isArray(item) ? item : sorted(item);
        case 'function': return `[Function ${item.name || '<anon>'}]`;
        case 'string': return item.startsWith('[') ? `[${item}]` : item;
        case 'undefined':
        case 'symbol': return `[${StringOf(item)}]`;
        case 'bigint': return `[${item}n]`;
        case 'number': return item - item === 0 ? item : `[${item}]`;
        default: return item;
      }
    };
    try {
      return stringify(value, replace, spaces);
    } catch {
      return '[Something that failed to stringify]';
    }
  }

  const quoted = new WeakMap();
  const mark = (text, value) => {
    const result = freeze({ toString: freeze(() => text()) });
    quoted.set(result, value);
    return result;
  };
  const quote = freeze((value, spaces = undefined) => mark(() => show(value, spaces), value));
  const isBare = /^[\w:-]( ?[\w:-])*$/;
  const bare = freeze((text, spaces = undefined) =>
    (typeof text === 'string' && isBare.test(text) ? mark(() => text, text) : quote(text, spaces)));

  const templates = new WeakMap();
  function textOf({ template, args, redact }) {
    let text = `${template[0]}`;
    for (let i = 0; i < args.length; i++) {
      const arg = args[i];
      const isObject = arg !== null && typeof arg === 'object';
      if (isObject && quoted.has(arg)) text += `${arg}`;
      else if (!redact) text += `${show(arg)}`;
      else text += isObject && isError(arg) ? `(${an(arg.name)})` : `(${an(typeof arg)})`;
      text += template[i + 1];
    }
    return text;
  }
  const tokenPrototype = freeze({
    toString: freeze({
      toString() {
        const hidden = templates.get(this);
        return hidden === undefined ? '[Not a DetailsToken]' : textOf(hidden);
      },
    }.toString),
  });
  const makeDetails = (redact) => freeze((template, ...args) => {
    const token = freeze({ __proto__: tokenPrototype });
    templates.set(token, { template, args, redact });
    return token;
  });
  const redacted = makeDetails(true);
  const open = makeDetails(false);

  function hiddenOf(details) {
    const token = typeof details === 'string' ? redacted([details]) : details;
    const hidden = token !== null && typeof token === 'object' ? templates.get(token) : undefined;
    if (hidden === undefined) throw new TypeError(`unrecognized details ${quote(details)}`);
    return hidden;
  }

  const plain = (value) => ({ value, writable: true, enumerable: false, configurable: true });

  // Only what an error has by nature; then frozen.
  function sanitize(error) {
    const own = getOwnPropertyDescriptors(error);
    for (const name of ownKeys(own)) {
      const known = name === 'name' || name === 'message' || name === 'errors' || name === 'cause' || name === 'stack'
        || (name === 'code' && typeof own.code.value === 'string');
      if (!known) delete error[name];
      else if (own[name].get !== undefined) defineProperty(error, name, { value: error[name] });
    }
    freeze(error);
  }

  const makeError = freeze((details = undefined, constructor = undefined, options = {}) => {
    const { cause, errors, code, sanitize: clean = true } = options;
    const text = textOf(hiddenOf(details ?? redacted`Assert failed`));
    const Kind = constructor ?? Error;
    const more = cause ? { cause } : undefined;
    let error;
    if (Kind === AggregateError) {
      error = AggregateError(errors || [], text, more);
    } else {
      error = Kind(text, more);
      if (errors !== undefined) defineProperty(error, 'errors', plain(errors));
    }
    if (code !== undefined) defineProperty(error, 'code', plain(code));
    if (clean) sanitize(error);
    return error;
  });

  // Notes are for a console that shows them; here they are only checked.
  const note = freeze((_error, details) => { hiddenOf(details); });

  function makeAssert(raise = undefined, unredacted = false) {
    const details = unredacted ? open : redacted;
    const failed = details`Check failed`;
    const fail = freeze((optDetails = failed, constructor = undefined, options = undefined) => {
      const reason = makeError(optDetails, constructor, options);
      if (raise !== undefined) raise(reason);
      throw reason;
    });
    const Fail = (template, ...args) => fail(details(template, ...args));
    const assert = (condition, optDetails = undefined, constructor = undefined, options = undefined) => {
      if (!condition) fail(optDetails ?? undefined, constructor, options);
    };
    const equal = freeze((actual, expected, optDetails = undefined, constructor = undefined, options = undefined) => {
      if (!is(actual, expected)) {
        fail(optDetails || details`Expected ${actual} is same as ${expected}`, constructor || RangeError, options);
      }
    });
    const ofType = freeze((specimen, type, optDetails = undefined) => {
      if (typeof specimen === type) return;
      if (typeof type !== 'string') Fail`${quote(type)} must be a string`;
      fail(optDetails === undefined ? details`${specimen} must be ${bare(an(type))}` : optDetails, TypeError);
    });
    assert.equal = equal;
    assert.typeof = ofType;
    assert.string = (specimen, optDetails = undefined) => ofType(specimen, 'string', optDetails);
    assert.fail = fail;
    assert.makeError = makeError;
    assert.note = note;
    assert.details = details;
    assert.Fail = Fail;
    assert.quote = quote;
    assert.bare = bare;
    assert.error = makeError;
    assert.makeAssert = makeAssert;
    return freeze(assert);
  }
  freeze(makeAssert);

  const assert = makeAssert(undefined, !REDACT);
  runtime.assert = runtime.harden(assert);
  runtime.an = an;
  runtime.show = show;
  defineProperty(globalThis, 'assert', plain(assert));
})
