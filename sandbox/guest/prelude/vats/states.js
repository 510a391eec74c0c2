// The states of virtual objects, and which of them are in the heap.
//
// - The states that were used last are kept, as many as fit into `MAX_HOT` and `MAX_HOT_CHARS`. Which these are does not
//   depend on the collector.
// - A state that has changed is written when the turn is over.
(function (native, runtime) {
  'use strict';
  const { vatstore: store, references, harden } = runtime;
  const { quotedName } = runtime.encoders;
  const { Map } = globalThis;
  const { create, defineProperties, freeze, hasOwn, preventExtensions, setPrototypeOf, values } = Object;
  const { ownKeys } = Reflect;
  const { parse } = JSON;
  const { isPrimitive } = runtime.pass;
  const { mustMatch } = runtime.patterns;
  const { Fail, quote: q, bare: b } = runtime.assert;
  const { write, read, rowOf: textOf, exchange, leaveAll, isDurable } = references;

  const MAX_HOT = 128; // of each of two generations
  const MAX_HOT_CHARS = 1 << 20;

  let young = new Map(); // base ref -> Row
  let old = new Map();
  let youngChars = 0;

  // The state of one object: `data` has {body, slots} by property, `values` what has been read or written of it.
  class Row {
    constructor(baseRef, data, values, chars) {
      this.baseRef = baseRef;
      this.data = data;
      this.values = values;
      this.chars = chars;
      this.isHot = false;
      this.state = undefined;
    }

    text() {
      const { data } = this;
      let text = '';
      for (const name in data) text += (text === '' ? '{' : ',') + quotedName(name) + ':' + textOf(data[name]);
      return text === '' ? '{}' : text + '}';
    }
  }

  const rowKey = (baseRef) => 'vom.' + baseRef;

  function keep(row) {
    row.isHot = true;
    young.set(row.baseRef, row);
    youngChars += row.chars;
    if (young.size < MAX_HOT && youngChars < MAX_HOT_CHARS) return;
    cool(old);
    old = young;
    young = new Map();
    youngChars = 0;
  }

  function cool(generation) {
    for (const row of generation.values()) {
      row.isHot = false;
      row.state = undefined;
    }
  }

  function forgetStates() {
    cool(old);
    cool(young);
    old = new Map();
    young = new Map();
    youngChars = 0;
  }

  function rowOf(baseRef) { return findRow(baseRef) ?? Fail`no state of ${baseRef}`; }

  function findRow(baseRef) {
    const hot = young.get(baseRef);
    if (hot !== undefined) return hot;
    let row = old.get(baseRef);
    if (row !== undefined) {
      old.delete(baseRef);
    } else {
      row = store.pending(rowKey(baseRef));
      if (row === undefined || row.data === undefined) {
        const text = store.get(rowKey(baseRef));
        if (text === undefined) return undefined;
        row = new Row(baseRef, parse(text), create(null), text.length);
      }
    }
    keep(row);
    return row;
  }

  // What behaviour sees as `state`. Its accessors are its own, or its prototype's if the kind has a shape.
  class State {
    #baseRef;
    #row;

    constructor(row) {
      this.#baseRef = row.baseRef;
      this.#row = row;
    }

    static row(state) {
      if (isPrimitive(state) || !(#row in state)) Fail`state accessors can only be applied to state`;
      const row = state.#row;
      if (row.isHot) return row;
      return (state.#row = rowOf(state.#baseRef));
    }
  }
  freeze(State.prototype);
  const rowOfState = State.row;
  delete State.row;

  function insistDurable(what, data, isValue) {
    const { slots } = data;
    for (let i = 0; i < slots.length; i++) {
      if (isDurable(slots[i])) continue;
      if (isValue) Fail`value for ${what} is not durable: slot ${b(i)} of ${data}`;
      Fail`${what} is not durable: slot ${b(i)} of ${data}`;
    }
  }

  function accessor(kind, name) {
    const { get, set } = {
      get() {
        const row = rowOfState(this);
        const { values } = row;
        const known = values[name];
        if (known !== undefined || name in values) return known;
        const value = hasOwn(row.data, name) ? harden(read(row.data[name])) : undefined;
        if (kind.shape !== undefined) mustMatchShape(kind, value, name);
        values[name] = value;
        return value;
      },
      set(value) {
        const row = rowOfState(this);
        if (kind.shape !== undefined) mustMatchShape(kind, value, name);
        const after = write(value);
        if (kind.durable) insistDurable(name, after, true);
        const { data } = row;
        exchange(hasOwn(data, name) ? data[name].slots : [], after.slots);
        data[name] = after;
        row.values[name] = value;
        store.change(rowKey(row.baseRef), row);
      },
    };
    return { get: harden(get), set: harden(set), enumerable: true, configurable: false };
  }

  function mustMatchShape(kind, value, name) {
    if (!hasOwn(kind.shape, name)) Fail`State must only have fields described by stateShape: ${q(ownKeys(kind.shape))}`;
    mustMatch(value, kind.shape[name]);
  }

  function stateOf(kind, baseRef) {
    const row = rowOf(baseRef);
    if (row.state !== undefined) return row.state;
    const state = new State(row);
    if (kind.statePrototype !== undefined) setPrototypeOf(state, kind.statePrototype);
    else defineProperties(state, layoutOf(kind, ownKeys(row.data)));
    // Its accessors cannot be changed: now it is frozen.
    row.state = preventExtensions(state);
    runtime.markHardened(state);
    return state;
  }

  // All instances have the same properties, most of the time.
  function layoutOf(kind, names) {
    const { layoutNames } = kind;
    if (layoutNames === undefined || layoutNames.length !== names.length || names.some((name, i) => name !== layoutNames[i])) {
      kind.layoutNames = names;
      kind.layout = create(null);
      for (const name of names) kind.layout[name] = accessor(kind, name);
    }
    return kind.layout;
  }

  // All rows of an instance but for its counts.
  function removeState(baseRef) {
    const row = findRow(baseRef);
    if (row === undefined) return false;
    for (const { slots } of values(row.data)) leaveAll(slots);
    store.remove(rowKey(baseRef));
    row.isHot = false;
    young.delete(baseRef);
    old.delete(baseRef);
    return true;
  }

  runtime.states = { Row, rowKey, keep, accessor, stateOf, mustMatchShape, insistDurable, forgetStates, removeState };
})
