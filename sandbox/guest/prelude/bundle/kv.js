// `ccf.kv`: handles of maps, which resolve to the present transaction's map at each call.
(function (native, runtime) {
  'use strict';
  const { kv, entries, number } = native;
  const { create, defineProperty } = Object;
  const { TypeError } = globalThis;

  const HAS = 40, GET = 41, VERSION = 42, SET = 43, DELETE = 44, CLEAR = 45, SIZE = 46, ENTRIES = 47;

  const MANY = (count, expected) => new TypeError(`Passed ${count} arguments, but expected ${expected}`);

  const own = (handle) => {
    const name = handle._map_name;
    if (typeof name !== 'string') throw new TypeError('This is no KV map handle');
    return name;
  };

  // The entries of a map: keys and values by turns, as they are now.
  function walk(state, handle, options) { return entries(ENTRIES, state, own(handle), options); }

  // `{limit, reverse}`, and the bounds, for the host: flags, limit, the bounds' lengths.
  function bounds(from, to, options) {
    const { limit, reverse } = options === undefined || options === null ? {} : options;
    if (limit !== undefined && !(typeof limit === 'number' && limit >= 0 && limit <= 4294967295 && limit % 1 === 0)) {
      throw new TypeError('limit must be an integer from 0 to 4294967295');
    }
    return { from, to, limit: limit === undefined ? 4294967295 : limit, reverse: reverse === true };
  }

  // The methods of the maps of one state: 0 is the transaction's, others are historical.
  function methods(state) {
    const prototype = {
      has(key) {
        if (arguments.length !== 1) throw MANY(arguments.length, 1);
        return kv(HAS, state, own(this), key) !== undefined;
      },
      get(key) {
        if (arguments.length !== 1) throw MANY(arguments.length, 1);
        return kv(GET, state, own(this), key);
      },
      getVersionOfPreviousWrite(key) {
        if (arguments.length !== 1) throw MANY(arguments.length, 1);
        return number(kv(VERSION, state, own(this), key));
      },
      set(key, value) {
        if (arguments.length !== 2) throw MANY(arguments.length, 2);
        kv(SET, state, own(this), key, value);
        return this;
      },
      delete(key) {
        if (arguments.length !== 1) throw MANY(arguments.length, 1);
        kv(DELETE, state, own(this), key);
      },
      clear() {
        if (arguments.length !== 0) throw MANY(arguments.length, 0);
        kv(CLEAR, state, own(this));
      },
      forEach(callback) {
        if (arguments.length !== 1) throw MANY(arguments.length, 1);
        if (typeof callback !== 'function') throw new TypeError('Argument must be a function');
        const all = walk(state, this);
        for (let i = 0; i < all.length; i += 2) callback(all[i + 1], all[i], this);
      },
      get size() { return number(kv(SIZE, state, own(this))); },

      // Beyond CCF: in the order of the keys' bytes. `from` is included, `to` is not; either may be undefined.
      range(from, to, options) {
        const all = walk(state, this, bounds(from, to, options));
        const rows = [];
        for (let i = 0; i < all.length; i += 2) rows[rows.length] = [all[i], all[i + 1]];
        return rows;
      },
      keys() {
        const all = walk(state, this);
        const keys = [];
        for (let i = 0; i < all.length; i += 2) keys[keys.length] = all[i];
        return keys;
      },
      values() {
        const all = walk(state, this);
        const values = [];
        for (let i = 0; i < all.length; i += 2) values[values.length] = all[i + 1];
        return values;
      },
    };
    return prototype;
  }

  // Any name is a map. A handle is new each time it is asked for, and good for as long as its realm lives.
  function maps(state) {
    const prototype = methods(state);
    const handle = (name) => {
      const map = create(prototype);
      defineProperty(map, '_map_name', { value: name, writable: false, configurable: false, enumerable: true });
      return map;
    };
    return new Proxy(create(null), {
      get: (_, name) => (typeof name === 'string' ? handle(name) : undefined),
      has: (_, name) => typeof name === 'string',
      set: () => false,
      defineProperty: () => false,
      deleteProperty: () => false,
      getOwnPropertyDescriptor: (_, name) =>
        (typeof name === 'string' ? { value: handle(name), writable: false, configurable: true, enumerable: false } : undefined),
      ownKeys: () => [],
    });
  }

  runtime.maps = maps;
  runtime.kv = maps(0);
})
