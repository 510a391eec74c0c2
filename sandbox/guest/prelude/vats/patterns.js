// Patterns: passables that say what other passables look like, and keys: passables that can be compared.
//
// - A matcher is a tagged value, `match:...`; any other pattern matches what is equal to it, or looks like it part by part.
// - `why` finds out why a specimen does not match: undefined if it does. It makes a text only if it is asked to `say`.
// - Sets, bags and maps are tagged values whose keys are sorted backwards by rank and have no duplicates.
(function (native, runtime) {
  'use strict';
  const { Symbol, WeakSet, WeakMap, Math, Number } = globalThis;
  const { entries, fromEntries, hasOwn, keys, values } = Object;
  const { ownKeys } = Reflect;
  const { isArray } = Array;
  const { stringify } = JSON;
  const { harden, show } = runtime;
  const { passStyleOf, makeTagged, getTag, isPrimitive, isAtom, getInterfaceOf, nameForPassableSymbol, Far } = runtime.pass;
  const { Fail, quote: q, bare, makeError } = runtime.assert;

  const NO = 'no';
  const tagOf = (value) => (passStyleOf(value) === 'tagged' ? getTag(value) : undefined);
  const failWith = (text) => { throw makeError(text); };

  // --- Rank: an order of all passables, in which remotables are equal ---

  const RANKS = { error: '!', copyRecord: '(', tagged: ':', promise: '?', copyArray: '[', byteArray: 'a', boolean: 'b', number: 'f',
    bigint: 'n',
    remotable: 'r', string: 's', null: 'v', symbol: 'y', undefined: 'z' };
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const orderNumbers = (a, b) => (a !== a ? (b !== b ? 0 : 1) : b !== b ? -1 : order(a, b));
  const recordNames = (record) => harden(ownKeys(record).sort().reverse());
  const recordValues = (record, names) => harden(names.map((name) => record[name]));

  function compareRank(a, b) {
    const style = passStyleOf(a);
    const other = passStyleOf(b);
    if (style !== other) return order(RANKS[style], RANKS[other]);
    switch (style) {
      case 'boolean':
      case 'bigint':
      case 'string': return order(a, b);
      case 'number': return orderNumbers(a, b);
      case 'symbol': return order(nameForPassableSymbol(a), nameForPassableSymbol(b));
      case 'copyArray': {
        const length = Math.min(a.length, b.length);
        for (let i = 0; i < length; i++) {
          const result = compareRank(a[i], b[i]);
          if (result !== 0) return result;
        }
        return order(a.length, b.length);
      }
      case 'copyRecord': {
        const names = recordNames(a);
        const others = recordNames(b);
        return compareRank(names, others) || compareRank(recordValues(a, names), recordValues(b, others));
      }
      case 'tagged': return order(getTag(a), getTag(b)) || compareRank(a.payload, b.payload);
      default: return 0;
    }
  }
  const compareAntiRank = (a, b) => compareRank(b, a);
  // `undefined` is last of all whatever a comparison says, so that it is hidden from `sort`.
  const sortBackwards = (list) => harden(harden([...list]).map((item) => [item]).sort(([a], [b]) => compareRank(b, a)).map(([item]) =>
    item));
  const isSortedBackwards = (list) => list.every((item, i) => i === 0 || compareRank(list[i - 1], item) >= 0);

  // --- Keys ---

  const scalarWhy = (value, say) => (isAtom(value) || passStyleOf(value) === 'remotable' ? undefined
    : say ? `A ${q(passStyleOf(value))} cannot be a scalar key: ${show(value)}` : NO);

  const knownKeys = new WeakSet();
  function keyWhy(value, say) {
    if (isAtom(value)) return undefined;
    if (knownKeys.has(value)) return undefined;
    const result = keyWhyAnew(value, say);
    if (result === undefined) knownKeys.add(value);
    return result;
  }
  function firstWhy(list, check) {
    for (let i = 0; i < list.length; i++) {
      const result = check(list[i], i);
      if (result !== undefined) return result;
    }
    return undefined;
  }
  function keyWhyAnew(value, say) {
    const style = passStyleOf(value);
    switch (style) {
      case 'remotable': return undefined;
      case 'copyRecord': return firstWhy(values(value), (item) => keyWhy(item, say));
      case 'copyArray': return firstWhy(value, (item) => keyWhy(item, say));
      case 'tagged':
        switch (getTag(value)) {
          case 'copySet': return setWhy(value, say);
          case 'copyBag': return bagWhy(value, say);
          case 'copyMap': return mapWhy(value, say) ?? firstWhy(value.payload.values, (item) => keyWhy(item, say));
          default: return say ? `A passable tagged ${q(getTag(value))} is not a key: ${show(value)}` : NO;
        }
      default: return say ? `A ${q(style)} cannot be a key` : NO;
    }
  }
  const isKey = (value) => keyWhy(value, false) === undefined;
  const assertKey = (value) => { const text = keyWhy(value, true); if (text !== undefined) failWith(text); };

  // Remotables of one rank are told apart by identity.
  function duplicatesWhy(list, keyOf, say) {
    for (let i = 1; i < list.length; i++) {
      for (let j = i - 1; j >= 0 && compareRank(keyOf(list[j]), keyOf(list[i])) === 0; j--) {
        if (isKey(keyOf(list[i])) && keyEQ(keyOf(list[j]), keyOf(list[i]))) {
          return say ? `value has duplicate keys: ${show(keyOf(list[i]))}` : NO;
        }
      }
    }
    return undefined;
  }
  const same = (item) => item;
  function elementsWhy(list, say) {
    if (passStyleOf(list) !== 'copyArray') return say ? `The keys of a copySet or copyMap must be a copyArray: ${show(list)}` : NO;
    if (!isSortedBackwards(list)) return say ? `The keys of a copySet or copyMap must be sorted in reverse rank order: ${show(list)}` : NO;
    return duplicatesWhy(list, same, say);
  }
  function setWhy(set, say) {
    if (tagOf(set) !== 'copySet') return say ? `Not a copySet: ${show(set)}` : NO;
    return elementsWhy(set.payload, say) ?? keyWhy(set.payload, say);
  }
  function bagWhy(bag, say) {
    if (tagOf(bag) !== 'copyBag') return say ? `Not a copyBag: ${show(bag)}` : NO;
    const list = bag.payload;
    if (passStyleOf(list) !== 'copyArray') return say ? `The entries of a copyBag must be a copyArray: ${show(list)}` : NO;
    if (!isSortedBackwards(list)) return say ? `The entries of a copyBag must be sorted in reverse rank order: ${show(list)}` : NO;
    for (const entry of list) {
      if (passStyleOf(entry) !== 'copyArray' || entry.length !== 2 || typeof entry[1] !== 'bigint') {
        return say ? `Each entry of a copyBag must be pair of a key and a bigint representing a count: ${show(entry)}` : NO;
      }
      if (entry[1] < 1n) return say ? `Each entry of a copyBag must have a positive count: ${show(entry)}` : NO;
    }
    return duplicatesWhy(list, (entry) => entry[0], say) ?? keyWhy(list, say);
  }
  function mapWhy(map, say) {
    if (tagOf(map) !== 'copyMap') return say ? `Not a copyMap: ${show(map)}` : NO;
    const { payload } = map;
    if (passStyleOf(payload) !== 'copyRecord') return say ? `A copyMap's payload must be a record: ${show(map)}` : NO;
    const { keys: its, values: their, ...rest } = payload;
    if (ownKeys(rest).length > 0) return say ? `A copyMap's payload must only have .keys and .values: ${show(map)}` : NO;
    const result = elementsWhy(its, say) ?? keyWhy(its, say);
    if (result !== undefined) return result;
    if (passStyleOf(their) !== 'copyArray') return say ? `A copyMap's .values must be a copyArray: ${show(map)}` : NO;
    return its.length === their.length ? undefined : say ? `A copyMap must have the same number of keys and values: ${show(map)}` : NO;
  }
  const asserting = (check) => (value) => { const text = check(value, true); if (text !== undefined) failWith(text); };
  const testing = (check) => (value) => check(value, false) === undefined;
  const assertCopySet = asserting(setWhy), assertCopyBag = asserting(bagWhy), assertCopyMap = asserting(mapWhy);
  const checked = (value, check) => {
    check(value);
    return value;
  };
  const makeCopySet = (list) => checked(makeTagged('copySet', sortBackwards(list)), assertCopySet);
  const makeCopyBag = (list) => checked(makeTagged('copyBag', sortBackwards(list)), assertCopyBag);
  function makeCopyMap(list) {
    const sorted = [...harden([...list])].sort(([a], [b]) => compareRank(b, a));
    return checked(makeTagged('copyMap', { keys: sorted.map(([key]) => key), values: sorted.map(([, value]) => value) }), assertCopyMap);
  }
  function makeCopyBagFromElements(list) {
    const counts = [];
    for (const item of sortBackwards(list)) {
      const entry = counts.find(([key]) => keyEQ(key, item));
      if (entry === undefined) counts.push([item, 1n]);
      else entry[1] += 1n;
    }
    return makeCopyBag(counts);
  }
  const getCopySetKeys = (set) => checked(set, assertCopySet).payload;
  const getCopyBagEntries = (bag) => checked(bag, assertCopyBag).payload;
  const entryArray = (map) => checked(map, assertCopyMap).payload.keys.map((key, i) => [key, map.payload.values[i]]);
  const getCopyMapEntries = (map) => {
    const list = harden(entryArray(map));
    return Far('CopyMap entries iterable', {
      [Symbol.iterator]: () => {
        let i = 0;
        return Far('CopyMap entries iterator', {
          next: () => harden(i < list.length ? { done: false, value: list[i++] } : { done: true, value: undefined }),
        });
      },
    });
  };

  // NaN where two keys are not in an order.
  function compareKeys(a, b) {
    assertKey(a);
    assertKey(b);
    const style = passStyleOf(a);
    if (style !== passStyleOf(b)) return NaN;
    switch (style) {
      case 'number': {
        const result = orderNumbers(a, b);
        return result !== 0 && (a !== a || b !== b) ? NaN : result;
      }
      case 'remotable': return a === b ? 0 : NaN;
      case 'copyArray': {
        const length = Math.min(a.length, b.length);
        for (let i = 0; i < length; i++) {
          const result = compareKeys(a[i], b[i]);
          if (result !== 0) return result;
        }
        return order(a.length, b.length);
      }
      case 'copyRecord': {
        const names = recordNames(a);
        if (compareRank(names, recordNames(b)) !== 0) return NaN;
        return partly(names.map((name) => compareKeys(a[name], b[name])));
      }
      case 'tagged': {
        const tag = getTag(a);
        if (tag !== getTag(b)) return NaN;
        if (tag === 'copySet') return compareCounts(a.payload.map((key) => [key, 1n]), b.payload.map((key) => [key, 1n]));
        if (tag === 'copyBag') return compareCounts(a.payload, b.payload);
        throw Fail`Map comparison not yet implemented: ${a} vs ${b}`;
      }
      default: return compareRank(a, b);
    }
  }
  function partly(results) {
    let all = 0;
    for (const result of results) {
      if (result !== result || (all !== 0 && result !== 0 && all !== result)) return NaN;
      if (result !== 0) all = result;
    }
    return all;
  }
  function compareCounts(a, b) {
    const counts = (list, key) => list.find(([other]) => keyEQ(other, key))?.[1] ?? 0n;
    return partly([...a, ...b].map(([key]) => order(counts(a, key), counts(b, key))));
  }
  const keyLT = (a, b) => compareKeys(a, b) < 0, keyLTE = (a, b) => compareKeys(a, b) <= 0, keyEQ = (a, b) => compareKeys(a, b) === 0;
  const keyGTE = (a, b) => compareKeys(a, b) >= 0, keyGT = (a, b) => compareKeys(a, b) > 0;

  // --- How patterns are shown: as the expression that makes them ---

  const isIdentifier = /^[a-zA-Z]\w*$/;
  function expression(value, remotables, indent) {
    const inner = `${indent}  `;
    const list = (parts, open, close) => {
      if (parts.length === 0) return open + close;
      return `${open}\n${parts.map((part) => `${inner}${part},\n`).join('')}${indent}${close}`;
    };
    const nameOf = (key) => (isIdentifier.test(key) ? key : key === '__proto__' ? '["__proto__"]' : stringify(key));
    switch (passStyleOf(value)) {
      case 'string': return stringify(value);
      case 'bigint': return `${value}n`;
      case 'number': return value === 0 ? '0' : `${value}`;
      case 'symbol': return `passableSymbolForName(${stringify(nameForPassableSymbol(value))})`;
      case 'copyArray': return list(value.map((item) => expression(item, remotables, inner)), '[', ']');
      case 'copyRecord':
        return list(keys(value).sort().map((key) => `${nameOf(key)}: ${expression(value[key], remotables, inner)}`), '{', '}');
      case 'tagged': return `makeTagged(${stringify(getTag(value))}, ${expression(value.payload, remotables, indent)})`;
      case 'error': return `${value.name}(${stringify(value.message)})`;
      case 'remotable':
      case 'promise': {
        if (!remotables.includes(value)) remotables.push(value);
        const iface = getInterfaceOf(value);
        return `slotToVal("s${remotables.indexOf(value)}"${iface === undefined ? '' : `,${stringify(iface)}`})`;
      }
      default: return `${value}`;
    }
  }
  const qp = (value) => `\`${expression(harden(value), [], '')}\``;
  const shown = (pattern) => show(qp(pattern));

  // --- Matching ---

  const LIMITS = harden({ decimalDigitsLimit: 100, stringLengthLimit: 100_000, symbolNameLengthLimit: 100, numPropertiesLimit: 80,
    propertyNameLengthLimit: 100,
    arrayLengthLimit: 10_000, byteLengthLimit: 100_000, numSetElementsLimit: 10_000, numUniqueBagElementsLimit: 10_000,
      numMapEntriesLimit: 5000 });
  const limitsOf = (limits) => (limits === undefined ? LIMITS : { ...LIMITS, ...limits });

  const labelled = (label, text) => `${typeof label === 'number' ? `[${label}]` : label}: ${text}`;
  function nested(specimen, pattern, label, say) {
    let text;
    try {
      text = why(specimen, pattern, say);
    } catch (error) {
      if (label === undefined) throw error;
      throw makeError(labelled(label, error.message));
    }
    return text === undefined || !say || label === undefined ? text : labelled(label, text);
  }

  const kinds = new WeakMap(); // tagged value -> its tag, if it is one that is known and well-formed
  function kindWhy(value, say) {
    const tag = getTag(value);
    const matcher = matchers[tag];
    if (matcher !== undefined) return matcher.formed(value.payload, say);
    const shape = shapes[tag];
    if (shape !== undefined) return nested(value.payload, shape(), tag, say);
    if (tag === 'copySet') return setWhy(value, say);
    if (tag === 'copyBag') return bagWhy(value, say);
    if (tag === 'copyMap') return mapWhy(value, say);
    return say ? `cannot check unrecognized tag ${q(tag)}: ${show(value)}` : NO;
  }
  // The style of a value, or its tag; undefined for a tagged value that nobody knows.
  function kindOf(value, say = false) {
    const style = passStyleOf(value);
    if (style !== 'tagged') return style;
    let kind = kinds.get(value);
    if (kind === undefined) {
      const text = kindWhy(value, say);
      if (text === undefined) {
        kind = getTag(value);
        kinds.set(value, kind);
      } else if (say) {
        failWith(text);
      }
    }
    return kind;
  }

  const equalWhy = (specimen, key, say) => (isKey(specimen) && keyEQ(specimen, key) ? undefined
    : say ? `${show(specimen)} - Must be: ${show(key)}` : NO);
  function kindMatchWhy(specimen, kind, say) {
    if (kind === 'null') return equalWhy(specimen, null, say);
    if (kind === 'undefined') return equalWhy(specimen, undefined, say);
    const its = kindOf(specimen, say);
    return its === kind ? undefined : say ? `${bare(its ?? 'unknown')} ${show(specimen)} - Must be a ${bare(kind)}` : NO;
  }

  const knownPatterns = new WeakSet();
  function patternWhy(pattern, say) {
    if (isKey(pattern) || (!isPrimitive(pattern) && knownPatterns.has(pattern))) return undefined;
    const kind = kindOf(pattern, say);
    let text;
    switch (kind) {
      case undefined: return NO;
      case 'copyRecord': text = firstWhy(values(pattern), (item) => patternWhy(item, say)); break;
      case 'copyArray': text = firstWhy(pattern, (item) => patternWhy(item, say)); break;
      case 'copyMap': text = patternWhy(pattern.payload.values, say); break;
      case 'error':
      case 'promise': return say ? `A ${q(kind)} cannot be a pattern` : NO;
      default:
        if (matchers[kind] === undefined) return say ? `A passable of kind ${q(kind)} is not a pattern: ${show(pattern)}` : NO;
    }
    if (text === undefined) knownPatterns.add(pattern);
    return text;
  }

  function why(specimen, pattern, say) {
    const kind = kindOf(pattern, true);
    const its = kindOf(specimen);
    const matcher = matchers[kind];
    if (matcher !== undefined) return matcher.why(specimen, pattern.payload, say);
    switch (kind) {
      case 'promise': return say ? `promises cannot be patterns: ${show(pattern)}` : NO;
      case 'error': return say ? `errors cannot be patterns: ${show(pattern)}` : NO;
      case 'copyArray':
      case 'copyRecord':
      case 'copyMap':
        if (isKey(pattern)) return equalWhy(specimen, pattern, say);
        if (its !== kind) return say ? `${show(specimen)} - Must be a ${kind} to match a ${kind} pattern: ${shown(pattern)}` : NO;
        return kind === 'copyArray' ? arrayWhy(specimen, pattern, say)
          : kind === 'copyRecord' ? recordWhy(specimen, pattern, say) : copyMapWhy(specimen, pattern, say);
      default:
        if (shapes[kind] !== undefined) throw Fail`internal: should have recognized ${q(kind)} `;
        return equalWhy(specimen, pattern, say);
    }
  }
  function arrayWhy(specimen, pattern, say) {
    if (specimen.length !== pattern.length) {
      return say ? `Array ${show(specimen)} - Must be as long as copyArray pattern: ${shown(pattern)}` : NO;
    }
    return firstWhy(pattern, (item, i) => nested(specimen[i], item, i, say));
  }
  function recordWhy(specimen, pattern, say) {
    const names = recordNames(specimen), wanted = recordNames(pattern);
    const missing = wanted.filter((name) => !hasOwn(specimen, name));
    if (missing.length > 0) return say ? `${show(specimen)} - Must have missing properties ${q(missing)}` : NO;
    const unexpected = names.filter((name) => !hasOwn(pattern, name));
    if (unexpected.length > 0) return say ? `${show(specimen)} - Must not have unexpected properties: ${q(unexpected)}` : NO;
    return firstWhy(wanted, (name) => nested(specimen[name], pattern[name], name, say));
  }
  function copyMapWhy(specimen, pattern, say) {
    const text = why(makeTagged('copySet', specimen.payload.keys), makeTagged('copySet', pattern.payload.keys), say);
    if (text !== undefined) return text;
    const found = entryArray(specimen);
    return firstWhy(entryArray(pattern), ([key, item], i) => nested(found.find(([other]) => keyEQ(other, key))[1], item, i, say));
  }

  const matches = (specimen, pattern) => why(specimen, pattern, false) === undefined;
  function mustMatch(specimen, pattern, label = undefined) {
    try {
      if (why(specimen, pattern, false) === undefined) return;
    } catch {
      // Said below, with its label.
    }
    failWith(nested(specimen, pattern, label, true) ?? `internal: ${show(label)}: inconsistent pattern match: ${shown(pattern)}`);
  }

  // --- Matchers: `formed` says what is wrong with a payload, `why` what is wrong with a specimen ---

  const digits = (value) => Math.floor(Math.log10(Math.abs(Number(value)))) + 1;
  const digitsWhy = (value, limit, say) => (digits(value) <= limit ? undefined
    : say ? `bigint ${show(value)} must not have more than ${show(limit)} digits` : NO);
  const nothing = (payload, say) => (payload === undefined ? undefined
    : say ? `match:any payload: ${show(payload)} - Must be undefined` : NO);
  const isPattern = (pattern) => patternWhy(pattern, false) === undefined;

  // A list of patterns, and perhaps of limits after them.
  const withLimits = (tag, count) => (payload, say) => {
    if (!isArray(payload)) return say ? `${q(`${tag} payload`)} payload must be an array: ${show(payload)}` : NO;
    if (payload.length !== count && payload.length !== count + 1) {
      return say ? `${q(`${tag} payload`)} payload unexpected size: ${show(payload)}` : NO;
    }
    const text = firstWhy(payload.slice(0, count), (item, i) => {
      const inner = patternWhy(item, say);
      return inner === undefined || !say ? inner : labelled(`${tag} payload`, labelled(i, inner));
    });
    const limits = payload[count];
    if (text !== undefined || limits === undefined) return text;
    if (passStyleOf(limits) !== 'copyRecord') return say ? `Limits must be a record: ${q(limits)}` : NO;
    return firstWhy(entries(limits), ([key, value]) => (typeof value === 'number' ? undefined
      : say ? `Value of limit ${q(key)} but be a number: ${q(value)}` : NO));
  };
  const listOf = (payload, say) => (passStyleOf(payload) !== 'copyArray' ? say ? `Needs array of sub-patterns: ${shown(payload)}` : NO
    : firstWhy(payload, (item) => patternWhy(item, say)));
  const isAny = (pattern) => !isPrimitive(pattern) && kindOf(pattern) === 'match:any';
  const isUndefinedPattern = (pattern) => pattern === undefined || (kindOf(pattern) === 'match:kind' && pattern.payload === 'undefined');
  const everyWhy = (list, pattern, prefix, say) =>
    (isAny(pattern) ? undefined : firstWhy(list, (item, i) => nested(item, pattern, `${prefix}[${i}]`, say)));
  const labelWhy = (kind) => (specimen, { label }, say) => {
    if (kindOf(specimen) === kind) return undefined;
    const style = passStyleOf(specimen);
    return say ? `${show(specimen)} - Must be a ${kind} ${bare(label)}, not ${style === 'tagged' ? q(getTag(specimen)) : bare(style)}` : NO;
  };
  const labelFormed = (tag) => (payload, say) => nested(payload, harden({ label: M.string() }), `${tag} payload`, say);
  const comparing = (test, sign) => ({
    formed: keyWhy,
    why: (specimen, right, say) => (test(specimen, right) ? undefined : say ? `${show(specimen)} - Must be ${sign} ${show(right)}` : NO),
  });
  const splitFormed = (style, noun) => (payload, say) => {
    if (passStyleOf(payload) === 'copyArray' && payload.length >= 1 && payload.length <= 3) {
      const [required, optional, rest] = payload;
      if (isPattern(required) && passStyleOf(required) === style && (optional === undefined || (isPattern(optional)
        && passStyleOf(optional) === style))
        && (rest === undefined || isPattern(rest))) return undefined;
    }
    if (!say) return NO;
    return `Must be an array of a requiredPatt ${noun}, an optional optionalPatt ${noun}, and an optional restPatt: ${q(payload)}`;
  };

  const matchers = {
    __proto__: null,
    'match:any': { formed: nothing, why: () => undefined },
    'match:and': { formed: listOf, why: (specimen, list, say) => firstWhy(list, (pattern) => why(specimen, pattern, say)) },
    'match:or': {
      formed: listOf,
      why(specimen, list, say) {
        if (list.length === 0) return say ? `${show(specimen)} - no pattern disjuncts to match: ${shown(list)}` : NO;
        // `M.opt`: say what is wrong with the other.
        const optional = list.length === 2 ? list.findIndex(isUndefinedPattern) : -1;
        if (optional >= 0) return specimen === undefined ? undefined : why(specimen, list[1 - optional], say);
        return list.some((pattern) => matches(specimen, pattern)) ? undefined
          : say ? `${show(specimen)} - Must match one of ${shown(list)}` : NO;
      },
    },
    'match:not': { formed: patternWhy, why: (specimen, pattern, say) =>
      (matches(specimen, pattern) ? say ? `${show(specimen)} - Must fail negated pattern: ${shown(pattern)}` : NO : undefined) },
    'match:scalar': { formed: nothing, why: (specimen, _, say) => scalarWhy(specimen, say) },
    'match:key': { formed: nothing, why: (specimen, _, say) => keyWhy(specimen, say) },
    'match:pattern': { formed: nothing, why: (specimen, _, say) => patternWhy(specimen, say) },
    'match:kind': {
      formed: (kind, say) => (typeof kind === 'string' ? undefined
        : say ? `match:kind: payload: ${show(kind)} - A kind name must be a string` : NO),
      why: kindMatchWhy,
    },
    'match:tagged': {
      formed: withLimits('match:tagged', 2),
      why(specimen, [tag, payload], say) {
        if (passStyleOf(specimen) !== 'tagged') {
          return say ? `Expected tagged object, not ${q(passStyleOf(specimen))}: ${show(specimen)}` : NO;
        }
        return nested(getTag(specimen), tag, 'tag', say) ?? nested(specimen.payload, payload, 'payload', say);
      },
    },
    'match:bigint': { formed: withLimits('match:bigint', 0), why: (specimen, [limits], say) => kindMatchWhy(specimen, 'bigint', say)
      ?? digitsWhy(specimen, limitsOf(limits).decimalDigitsLimit, say) },
    'match:nat': {
      formed: withLimits('match:nat', 0),
      why: (specimen, [limits], say) => kindMatchWhy(specimen, 'bigint', say)
        ?? (specimen >= 0n ? digitsWhy(specimen, limitsOf(limits).decimalDigitsLimit, say)
          : say ? `${show(specimen)} - Must be non-negative` : NO),
    },
    'match:string': {
      formed: withLimits('match:string', 0),
      why(specimen, [limits], say) {
        const { stringLengthLimit } = limitsOf(limits);
        return kindMatchWhy(specimen, 'string', say)
          ?? (specimen.length <= stringLengthLimit ? undefined
            : say ? `string ${show(specimen)} must not be bigger than ${show(stringLengthLimit)}` : NO);
      },
    },
    'match:symbol': {
      formed: withLimits('match:symbol', 0),
      why(specimen, [limits], say) {
        const { symbolNameLengthLimit } = limitsOf(limits);
        const text = kindMatchWhy(specimen, 'symbol', say);
        if (text !== undefined) return text;
        const name = nameForPassableSymbol(specimen);
        return name.length <= symbolNameLengthLimit ? undefined
          : say ? `Symbol name ${q(name)} must not be bigger than ${show(symbolNameLengthLimit)}` : NO;
      },
    },
    'match:byteArray': { formed: withLimits('match:byteArray', 0), why: (specimen, _, say) => kindMatchWhy(specimen, 'byteArray', say) },
    'match:remotable': { formed: labelFormed('match:remotable'), why: labelWhy('remotable') },
    'match:promise': { formed: labelFormed('match:promise'), why: labelWhy('promise') },
    'match:lt': comparing(keyLT, '<'),
    'match:lte': comparing(keyLTE, '<='),
    'match:gte': comparing(keyGTE, '>='),
    'match:gt': comparing(keyGT, '>'),
    'match:arrayOf': {
      formed: withLimits('match:arrayOf', 1),
      why(specimen, [pattern, limits], say) {
        const { arrayLengthLimit } = limitsOf(limits);
        const text = kindMatchWhy(specimen, 'copyArray', say);
        if (text !== undefined) return text;
        if (specimen.length > arrayLengthLimit) {
          return say ? `Array length ${show(specimen.length)} must be <= limit ${show(arrayLengthLimit)}` : NO;
        }
        return everyWhy(specimen, pattern, '', say);
      },
    },
    'match:recordOf': {
      formed: withLimits('match:recordOf', 2),
      why(specimen, [keyPattern, pattern, limits], say) {
        const { numPropertiesLimit, propertyNameLengthLimit } = limitsOf(limits);
        const text = kindMatchWhy(specimen, 'copyRecord', say);
        if (text !== undefined) return text;
        if (ownKeys(specimen).length > numPropertiesLimit) {
          return say ? `Must not have more than ${q(numPropertiesLimit)} properties: ${show(specimen)}` : NO;
        }
        return firstWhy(entries(specimen), ([key, value]) => (key.length <= propertyNameLengthLimit
          ? nested(harden([key, value]), harden([keyPattern, pattern]), key, say)
          : say ? `${key}: Property name must not be longer than ${q(propertyNameLengthLimit)}` : NO));
      },
    },
    'match:setOf': {
      formed: withLimits('match:setOf', 1),
      why: (specimen, [pattern], say) => kindMatchWhy(specimen, 'copySet', say)
        ?? everyWhy(specimen.payload, pattern, 'set elements', say),
    },
    'match:bagOf': {
      formed: withLimits('match:bagOf', 2),
      why: (specimen, [pattern, count], say) => kindMatchWhy(specimen, 'copyBag', say)
        ?? firstWhy(specimen.payload, ([key, number], i) => nested(key, pattern, `bag keys[${i}]`, say)
          ?? nested(number, count, `bag counts[${i}]`, say)),
    },
    'match:mapOf': {
      formed: withLimits('match:mapOf', 2),
      why: (specimen, [keyPattern, pattern], say) => kindMatchWhy(specimen, 'copyMap', say)
        ?? everyWhy(specimen.payload.keys, keyPattern, 'map keys', say)
        ?? everyWhy(specimen.payload.values, pattern, 'map values', say),
    },
    'match:splitArray': {
      formed: splitFormed('copyArray', 'array'),
      why(specimen, [required, optional = [], rest = M.any()], say) {
        const text = kindMatchWhy(specimen, 'copyArray', say);
        if (text !== undefined) return text;
        if (specimen.length < required.length) return say ? `Expected at least ${q(required.length)} arguments: ${show(specimen)}` : NO;
        const end = required.length + optional.length;
        return firstWhy(required, (pattern, i) => nested(specimen[i], pattern, `arg ${i}`, say))
          ?? firstWhy(specimen.slice(required.length, end), (item, i) =>
            (item === undefined ? undefined : nested(item, optional[i], `arg ${required.length + i}?`, say)))
          ?? nested(harden(specimen.slice(end)), rest, '...rest', say);
      },
    },
    'match:splitRecord': {
      formed: splitFormed('copyRecord', 'record'),
      why(specimen, [required, optional = {}, rest = M.any()], say) {
        const text = kindMatchWhy(specimen, 'copyRecord', say);
        if (text !== undefined) return text;
        const part = (test) => harden(fromEntries(entries(specimen).filter(([name]) => test(name))));
        const isOptional = (name) => !hasOwn(required, name) && hasOwn(optional, name);
        return why(part((name) => hasOwn(required, name)), required, say)
          ?? firstWhy(keys(specimen).filter(isOptional), (name) =>
            (specimen[name] === undefined ? undefined : nested(specimen[name], optional[name], `${name}?`, say)))
          ?? nested(part((name) => !hasOwn(required, name) && !isOptional(name)), rest, '...rest', say);
      },
    },
  };

  // --- M ---

  const assertPattern = asserting(patternWhy);
  const make = (tag, payload) => checked(makeTagged(tag, payload), assertPattern);
  const makeLimited = (tag, payload) => make(tag, payload[payload.length - 1] === undefined ? payload.slice(0, -1) : payload);
  const ANY = makeTagged('match:any', undefined);
  const limited = (tag) => {
    const plain = makeTagged(tag, []);
    return (limits = undefined) => (limits ? make(tag, [limits]) : plain);
  };
  const split = (empty, base, optional, rest) => (rest ? [base, optional || empty, rest] : optional ? [base, optional] : [base]);
  const guards = runtime.makeGuards({ makeTagged, mustMatch, matches, makeCopyMap, getCopyMapEntries, M: () => M });
  const { shapes } = guards;
  const kind = (name) => make('match:kind', name);
  const M = {
    any: () => ANY,
    and: (...list) => make('match:and', list),
    or: (...list) => make('match:or', list),
    not: (pattern) => make('match:not', pattern),
    scalar: () => make('match:scalar', undefined),
    key: () => make('match:key', undefined),
    pattern: () => make('match:pattern', undefined),
    kind,
    tagged: (tag = M.string(), payload = ANY) => make('match:tagged', [tag, payload]),
    boolean: () => kind('boolean'),
    number: () => kind('number'),
    bigint: limited('match:bigint'),
    nat: limited('match:nat'),
    string: limited('match:string'),
    symbol: limited('match:symbol'),
    byteArray: limited('match:byteArray'),
    record: (limits = undefined) => M.recordOf(ANY, ANY, limits),
    array: (limits = undefined) => M.arrayOf(ANY, limits),
    set: (limits = undefined) => M.setOf(ANY, limits),
    bag: (limits = undefined) => M.bagOf(ANY, ANY, limits),
    map: (limits = undefined) => M.mapOf(ANY, ANY, limits),
    remotable: (label = undefined) => (label === undefined ? kind('remotable') : make('match:remotable', { label })),
    error: () => kind('error'),
    promise: (label = undefined) => (label === undefined ? kind('promise') : make('match:promise', { label })),
    undefined: () => kind('undefined'),
    null: () => null,
    lt: (right) => make('match:lt', right),
    lte: (right) => make('match:lte', right),
    gte: (right) => make('match:gte', right),
    gt: (right) => make('match:gt', right),
    eq: (key) => {
      assertKey(key);
      return key === undefined ? M.undefined() : key;
    },
    neq: (key) => M.not(M.eq(key)),
    recordOf: (keyPattern = ANY, pattern = ANY, limits = undefined) => makeLimited('match:recordOf', [keyPattern, pattern, limits]),
    arrayOf: (pattern = ANY, limits = undefined) => makeLimited('match:arrayOf', [pattern, limits]),
    setOf: (pattern = ANY, limits = undefined) => makeLimited('match:setOf', [pattern, limits]),
    bagOf: (pattern = ANY, count = ANY, limits = undefined) => makeLimited('match:bagOf', [pattern, count, limits]),
    mapOf: (keyPattern = ANY, pattern = ANY, limits = undefined) => makeLimited('match:mapOf', [keyPattern, pattern, limits]),
    splitArray: (base, optional = undefined, rest = undefined) => make('match:splitArray', split([], base, optional, rest)),
    splitRecord: (base, optional = undefined, rest = undefined) => make('match:splitRecord', split({}, base, optional, rest)),
    split: (base, rest = undefined) => (passStyleOf(harden(base)) === 'copyArray' ? M.splitArray(base, rest && [], rest)
      : M.splitRecord(base, rest && {}, rest)),
    partial: (base, rest = undefined) => (passStyleOf(harden(base)) === 'copyArray' ? M.splitArray([], base, rest)
      : M.splitRecord({}, base, rest)),
    eref: (pattern) => M.or(pattern, M.promise()),
    opt: (pattern) => M.or(M.undefined(), pattern),
    ...guards.makers,
  };
  harden(M);

  const { shapes: _, makers: _m, ...ofGuards } = guards;
  runtime.patterns = harden({
    M, matches, mustMatch, fit: mustMatch, isPattern, assertPattern, kindOf: (value) => kindOf(value), qp,
    isKey, assertKey, assertScalarKey: asserting(scalarWhy), isScalarKey: testing(scalarWhy),
    isCopySet: testing(setWhy), assertCopySet, makeCopySet, getCopySetKeys, isCopyBag: testing(bagWhy), assertCopyBag, makeCopyBag,
    makeCopyBagFromElements, getCopyBagEntries, isCopyMap: testing(mapWhy), assertCopyMap, makeCopyMap, getCopyMapEntries,
    compareKeys, keyLT, keyLTE, keyEQ, keyGTE, keyGT, compareRank, compareAntiRank,
    listDifference: (a, b) => a.filter((item) => !b.includes(item)), ...ofGuards,
  });
})
