// Maps and sets whose entries are rows of the store.
//
//   vc.N.<key>           {"body":..,"slots":[..]} of the value; null for a set          key: see keys.js
//   vc.N.|<vref>         the ordinal of a remotable that is a key, so that keys have an order: that of their first use
//   vc.N.|nextOrdinal    vc.N.|entryCount (not of weak ones)    vc.N.|schemata: label and shapes, as a value
//
// - Weak ones do not hold their keys: an entry goes when its key is no more.
// - The schemata of what is not durable say so besides ("virtual"), for the end of the incarnation.
(function (native, runtime) {
  'use strict';
  const { vatstore: store, slots: table, references, keys: order, harden } = runtime;
  const { Number } = globalThis;
  const { isFrozen } = Object;
  const { parse } = JSON;
  const { iterator } = Symbol;
  const { Far, passStyleOf, getTag, isPrimitive } = runtime.pass;
  const { M, matches, mustMatch, assertPattern, compareRank, makeCopySet, makeCopyMap, isCopySet, isCopyMap, getCopySetKeys,
    getCopyMapEntries } = runtime.patterns;
  const { assert } = runtime;
  const { Fail, quote: q } = assert;
  const { write, read, rowOf, reach, leave, reachAll, leaveAll, exchange, isDurable } = references;
  const StringOf = String;

  const MAX_KEY_CHARS = 220;
  const ANY = M.any();
  const SCALAR = M.scalar();
  const STRING = M.string();
  const LONGEST_STRING = 100_000; // that M.string() takes

  const NAMES = ['MapStore', 'WeakMapStore', 'SetStore', 'WeakSetStore'];
  const KINDS = []; // {name, id, durable, weak}
  for (const durable of [false, true]) {
    for (const name of NAMES) {
      const id = StringOf(KINDS.length + 2);
      KINDS.push({ name, durable, weak: name.startsWith('Weak'), id, prefix: `o+${durable ? 'd' : 'v'}${id}/` });
    }
  }
  const tableText = '{' + KINDS.map(({ name, durable, id }) => `"scalar${durable ? 'Durable' : ''}${name}":${id}`).join(',') + '}';

  const isRemotable = (key) => !isPrimitive(key) && passStyleOf(key) === 'remotable';
  const isAny = (pattern) => pattern === undefined || compareRank(pattern, ANY) === 0;
  const isSame = (a, b) => compareRank(a, b) === 0;

  // Most shapes are one of two: 'scalar' or 'string'.
  function shapeKind(pattern) {
    if (isSame(pattern, SCALAR)) return 'scalar';
    if (isSame(pattern, STRING)) return 'string';
    if (passStyleOf(pattern) !== 'tagged' || getTag(pattern) !== 'match:and') return undefined;
    const { payload } = pattern;
    return payload.length === 2 && isSame(payload[0], SCALAR) && isSame(payload[1], STRING) ? 'string' : undefined;
  }

  class Collection {
    constructor(kind, number) {
      this.kind = kind;
      this.number = number;
      this.prefix = `vc.${number}.`;
      this.schema = undefined;
      this.additions = 0; // since it is in the heap: an iteration must not see any
    }

    getSchema() {
      if (this.schema !== undefined) return this.schema;
      runtime.virtual.use();
      const { label, keyShape = ANY, valueShape } = read(parse(store.get(this.prefix + '|schemata')));
      return (this.schema = { label, keyShape, valueShape, quick: shapeKind(keyShape) });
    }

    // ---- keys ----

    // Whether it is plain to see that a key fits.
    fitsPlainly(key, schema) {
      switch (schema.quick) {
        case 'string': return typeof key === 'string' && key.length <= LONGEST_STRING && key.isWellFormed();
        case 'scalar':
          if (typeof key === 'string') return key.isWellFormed();
          if (typeof key === 'number' || typeof key === 'bigint') return true;
          return !isPrimitive(key) && table.vrefs.has(key) && passStyleOf(key) === 'remotable';
        default: return false;
      }
    }

    fits(key, schema) { return this.fitsPlainly(key, schema) || matches(key, schema.keyShape); }

    mustFit(key, schema) {
      if (!this.fitsPlainly(key, schema)) mustMatch(key, schema.keyShape, `invalid key type for collection ${q(schema.label)}`);
    }

    mustTake(value, { valueShape, label }) {
      if (valueShape !== undefined) mustMatch(value, valueShape, `invalid value type for collection ${q(label)}`);
    }

    vrefOf(remotable) { return table.vrefs.get(remotable) ?? table.nameWeakly(remotable); }
    ordinalOf(vref) { return store.get(`${this.prefix}|${vref}`); }

    textOf(key) {
      return order.encode(key, (remotable) => {
        const vref = this.vrefOf(remotable);
        const ordinal = this.ordinalOf(vref);
        if (ordinal === undefined) Fail`no ordinal for ${remotable}`;
        return order.ordinalText(ordinal, vref);
      });
    }

    rowKey(key) {
      const text = this.textOf(key);
      assert(text.length < MAX_KEY_CHARS, 'key too large');
      return this.prefix + text;
    }

    keyOf(rowKey) { return order.decode(rowKey.slice(this.prefix.length), (vref) => table.valueOf(vref)); }

    // ---- entries ----

    has(key) {
      const schema = this.getSchema();
      if (!this.fits(key, schema)) return false;
      if (isRemotable(key)) return this.ordinalOf(this.vrefOf(key)) !== undefined;
      return store.get(this.rowKey(key)) !== undefined;
    }

    notFound(key) { Fail`key ${key} not found in collection ${q(this.schema.label)}`; }

    // The key of the row of an entry that must be there.
    existing(key) {
      if (isRemotable(key) && this.ordinalOf(this.vrefOf(key)) === undefined) this.notFound(key);
      return this.rowKey(key);
    }

    get(key) {
      const schema = this.getSchema();
      this.mustFit(key, schema);
      const text = store.get(this.existing(key));
      if (text === undefined) this.notFound(key);
      return this.valueOf(text, schema);
    }

    valueOf(text, schema) {
      const value = read(parse(text));
      this.mustTake(value, schema);
      return value;
    }

    written(value, schema) {
      this.mustTake(value, schema);
      const data = write(value);
      if (this.kind.durable) insistDurable(value, data);
      return data;
    }

    count(by) {
      if (this.kind.weak || by === 0) return;
      const key = this.prefix + '|entryCount';
      store.change(key, StringOf(Number(store.get(key)) + by));
    }

    add(key, value, isNew) {
      const schema = this.getSchema();
      this.mustFit(key, schema);
      if (!isNew && this.has(key)) Fail`key ${key} already registered in collection ${q(schema.label)}`;
      const data = this.written(value, schema);
      this.additions++;
      if (isRemotable(key)) this.addOrdinal(key, value);
      reachAll(data.slots);
      store.set(this.rowKey(key), rowOf(data));
      this.count(1);
    }

    addOrdinal(key, value) {
      const vref = this.vrefOf(key);
      if (this.kind.durable && !isDurable(vref)) Fail`key (${key}) is not durable in ${value}`;
      const nextKey = this.prefix + '|nextOrdinal';
      const ordinal = store.get(nextKey);
      store.set(`${this.prefix}|${vref}`, ordinal);
      store.change(nextKey, StringOf(Number(ordinal) + 1));
      if (this.kind.weak) references.recognizeIn(vref, this.number);
      else reach(vref);
    }

    set(key, value) {
      const schema = this.getSchema();
      this.mustFit(key, schema);
      const after = this.written(harden(value), schema);
      const rowKey = this.existing(key);
      const before = store.get(rowKey);
      if (before === undefined) this.notFound(key);
      // Text that ends so has no slots.
      if (after.slots.length > 0 || !before.endsWith('"slots":[]}')) exchange(parse(before).slots, after.slots);
      store.set(rowKey, rowOf(after));
    }

    remove(key) {
      const schema = this.getSchema();
      this.mustFit(key, schema);
      const rowKey = this.existing(key);
      const text = store.get(rowKey);
      if (text === undefined) this.notFound(key);
      leaveAll(parse(text).slots);
      store.remove(rowKey);
      if (!isRemotable(key)) return;
      const vref = this.vrefOf(key);
      store.remove(`${this.prefix}|${vref}`);
      if (this.kind.weak) references.unrecognizeIn(vref, this.number);
      else leave(vref);
    }

    // ---- iteration ----

    *rowKeys(keyPattern) {
      this.getSchema();
      const [from, before] = order.cover(keyPattern, (remotable) => this.textOf(remotable));
      const start = this.prefix + from, end = this.prefix + before;
      const { additions } = this;
      let key = from !== '' && store.get(start) !== undefined ? start : store.next(start);
      while (key !== undefined && key < end) {
        yield key;
        if (this.additions !== additions) Fail`keys in store cannot be added to during iteration`;
        key = store.next(key);
      }
    }

    // What `pick` gives of the entries that match.
    *select(keyPattern, valuePattern, wantsKey, wantsValue) {
      const schema = this.getSchema();
      const matchesKey = !isAny(keyPattern), matchesValue = !isAny(valuePattern);
      for (const rowKey of this.rowKeys(keyPattern)) {
        const key = wantsKey || matchesKey ? this.keyOf(rowKey) : undefined;
        if (matchesKey && !matches(key, keyPattern)) continue;
        const value = wantsValue || matchesValue ? this.valueOf(store.get(rowKey), schema) : undefined;
        if (matchesValue && !matches(value, valuePattern)) continue;
        yield wantsKey ? wantsValue ? [key, value] : key : value;
      }
    }

    iterate(keyPattern = ANY, valuePattern = ANY, wantsKey, wantsValue) {
      assertPattern(keyPattern);
      assertPattern(valuePattern);
      return this.select(keyPattern, valuePattern, wantsKey, wantsValue);
    }

    size(keyPattern, valuePattern) {
      this.getSchema();
      if (isAny(keyPattern) && isAny(valuePattern)) return Number(store.get(this.prefix + '|entryCount'));
      let count = 0;
      for (const _ of this.iterate(keyPattern, valuePattern, true, false)) count++;
      return count;
    }

    clear(keyPattern, valuePattern) {
      this.getSchema();
      if (isAny(keyPattern) && isAny(valuePattern)) {
        this.removeEntries();
        if (!this.kind.weak) store.change(this.prefix + '|entryCount', '0');
        return;
      }
      let removed = 0;
      for (const key of this.iterate(keyPattern, valuePattern, true, false)) {
        this.remove(key);
        removed++;
      }
      this.count(-removed);
    }

    // All entries come before all that begins with a bar.
    removeEntries() {
      const { prefix } = this;
      for (let key = store.nextUnder(prefix); key !== undefined; key = store.nextUnder(prefix, key)) {
        const text = key.slice(prefix.length);
        if (text === '|entryCount' || text === '|nextOrdinal' || text === '|schemata') continue;
        if (text[0] !== '|') leaveAll(parse(store.get(key)).slots);
        else if (this.kind.weak) references.unrecognizeIn(text.slice(1), this.number);
        else leave(text.slice(1));
        store.remove(key);
      }
    }

    removeAll() {
      const { prefix } = this;
      const schemata = store.get(prefix + '|schemata');
      if (schemata === undefined) return false;
      this.removeEntries();
      leaveAll(parse(schemata).slots);
      store.remove(prefix + '|schemata');
      store.remove(prefix + '|nextOrdinal');
      if (!this.kind.weak) store.remove(prefix + '|entryCount');
      return true;
    }

    // ---- many at once ----

    addAllKeys(keys) {
      let list = keys;
      if (typeof keys[iterator] !== 'function') list = isFrozen(keys) && isCopySet(keys) ? getCopySetKeys(keys) : notIterable(keys);
      for (const key of list) if (!this.has(key)) this.add(key, null, true);
    }

    addAllEntries(entries) {
      let list = entries;
      if (typeof entries[iterator] !== 'function') {
        list = isFrozen(entries) && isCopyMap(entries) ? getCopyMapEntries(entries) : notIterable(entries);
      }
      for (const [key, value] of list) {
        if (this.has(key)) this.set(key, value);
        else this.add(key, value, true);
      }
    }
  }

  const notIterable = (value) => Fail`provided data source is not iterable: ${value}`;

  function insistDurable(value, data) {
    const { slots } = data;
    for (let i = 0; i < slots.length; i++) {
      if (!isDurable(slots[i])) Fail`value is not durable: ${value} at slot ${q(i)} of ${data.body}`;
    }
  }

  // ---- what the vat sees ----

  const common = (c) => ({
    has: (key) => c.has(key),
    delete: (key) => {
      c.remove(key);
      c.count(-1);
    },
  });
  const strong = (c) => ({
    keys: (keyPattern, valuePattern) => c.iterate(keyPattern, valuePattern, true, false),
    getSize: (keyPattern, valuePattern) => c.size(keyPattern, valuePattern),
    clear: (keyPattern, valuePattern) => { c.clear(keyPattern, valuePattern); },
  });
  const mapLike = (c) => ({
    ...common(c),
    get: (key) => c.get(key),
    init: (key, value) => { c.add(key, value, false); },
    set: (key, value) => { c.set(key, value); },
    addAll: (entries) => { c.addAllEntries(entries); },
  });
  const setLike = (c) => ({
    ...common(c),
    add: (key) => { if (!c.has(key)) c.add(key, null, true); },
    addAll: (keys) => { c.addAllKeys(keys); },
  });
  const MAKERS = {
    MapStore: (c) => Far('mapStore', {
      ...mapLike(c),
      ...strong(c),
      values: (keyPattern, valuePattern) => c.iterate(keyPattern, valuePattern, false, true),
      entries: (keyPattern, valuePattern) => c.iterate(keyPattern, valuePattern, true, true),
      snapshot: (keyPattern, valuePattern) => makeCopyMap(c.iterate(keyPattern, valuePattern, true, true)),
    }),
    WeakMapStore: (c) => Far('weakMapStore', mapLike(c)),
    SetStore: (c) => Far('setStore', {
      ...setLike(c),
      ...strong(c),
      values: (pattern) => c.iterate(pattern, undefined, true, false),
      snapshot: (pattern) => makeCopySet(c.iterate(pattern, undefined, true, false)),
    }),
    WeakSetStore: (c) => Far('weakSetStore', setLike(c)),
  };
  const numberOf = (vref) => vref.slice(vref.indexOf('/') + 1);

  for (const kind of KINDS) {
    references.kinds.set(kind.id, {
      durable: kind.durable,
      facets: undefined,
      revive: (vref) => MAKERS[kind.name](new Collection(kind, numberOf(vref))),
      remove: (vref) => new Collection(kind, numberOf(vref)).removeAll(),
    });
  }

  // The rows of a new collection.
  function found(kind, number, label, keyShape, valueShape) {
    const prefix = `vc.${number}.`;
    const schemata = { label };
    if (keyShape !== undefined) schemata.keyShape = keyShape;
    if (valueShape !== undefined) schemata.valueShape = valueShape;
    const data = write(harden(schemata));
    if (kind.durable) insistDurable(undefined, data);
    reachAll(data.slots);
    store.set(prefix + '|nextOrdinal', '1');
    if (!kind.weak) store.set(prefix + '|entryCount', '0');
    store.set(prefix + '|schemata', kind.durable ? rowOf(data) : rowOf(data).slice(0, -1) + ',"virtual":true}');
  }

  function maker(name, defaultLabel) {
    return (label = defaultLabel, options = {}) => {
      const { keyShape: restriction, valueShape, durable = false } = options;
      runtime.virtual.use();
      const kind = KINDS.find((it) => it.name === name && it.durable === !!durable);
      const keyShape = restriction === undefined ? SCALAR : M.and(SCALAR, harden(restriction));
      assert.typeof(label, 'string');
      assertPattern(keyShape);
      if (valueShape) assertPattern(harden(valueShape));
      const number = StringOf(runtime.virtual.nextCollection());
      found(kind, number, label, keyShape, valueShape);
      const collection = new Collection(kind, number);
      collection.schema = { label, keyShape, valueShape, quick: shapeKind(keyShape) };
      const representative = MAKERS[name](collection);
      table.bindWeakly(representative, kind.prefix + number);
      return representative;
    };
  }

  // An entry of a weak collection whose key is no more.
  references.removeEntriesWith((number, vref) => {
    const prefix = `vc.${number}.`;
    const ordinalKey = `${prefix}|${vref}`;
    const ordinal = store.get(ordinalKey);
    if (ordinal === undefined) return;
    store.remove(ordinalKey);
    const rowKey = prefix + order.ordinalText(ordinal, vref);
    const text = store.get(rowKey);
    if (text === undefined) return;
    leaveAll(parse(text).slots);
    store.remove(rowKey);
  });

  // Of all collections that are not durable, the rows.
  function removeVirtual() {
    let key = store.nextUnder('vc.');
    while (key !== undefined) {
      const number = key.slice(3, key.indexOf('.', 3));
      const text = store.get(`vc.${number}.|schemata`);
      if (text !== undefined && text.endsWith(',"virtual":true}')) {
        const isWeak = store.get(`vc.${number}.|entryCount`) === undefined;
        new Collection({ weak: isWeak, durable: false }, number).removeAll();
      }
      key = store.nextUnder('vc.', `vc.${number}/`);
    }
  }

  runtime.collections = {
    makeScalarBigMapStore: maker('MapStore', 'map'),
    makeScalarBigWeakMapStore: maker('WeakMapStore', 'weakMap'),
    makeScalarBigSetStore: maker('SetStore', 'set'),
    makeScalarBigWeakSetStore: maker('WeakSetStore', 'weakSet'),
    tableText, removeVirtual,
    // A durable map with keys that are texts, under a number that is known before.
    foundMap: (number, label, keyShape) => { found(KINDS[4], number, label, keyShape, undefined); },
    STRING, SCALAR, WATCHED_SHAPE: M.and(SCALAR, STRING),
  };
})
