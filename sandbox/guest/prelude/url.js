// URL and URLSearchParams (WHATWG URL). Parsing, serialising and the rules of the setters are native; a URL here
// is the list that `native.urlParse` answers: its serialisation and where the parts are in it.
//
// Invariants:
// - the serialisation is the whole state of a URL: a setter parses it, changes it and stores the new one;
// - a URL's `searchParams` is created when first read; from then on its list is what its URL's query says, and
//   each change of the list is written to the query at once.
(function (native) {
  'use strict';

  const {
    Object: { defineProperty, setPrototypeOf },
    Reflect: { getPrototypeOf, ownKeys, getOwnPropertyDescriptor },
    Symbol: { iterator, toStringTag },
    TypeError, Array, String,
  } = globalThis;
  const { urlParse, urlSet, urlOrigin, formParse, formSerialize, platform, expose, uncurry, put, coded, text: toText } = native;

  const charAt = uncurry(String.prototype.charAt);
  const slice = uncurry(String.prototype.slice);
  const toWellFormed = uncurry(String.prototype.toWellFormed);
  const sort = uncurry(Array.prototype.sort);
  const call = uncurry(globalThis.Function.prototype.call);
  const list = () => setPrototypeOf([], null);

  const text = (value) => toWellFormed(toText(value));

  const fail = (message, code) => coded(TypeError, message, code);

  function requireArguments(count, names) {
    if (count < names.length) {
      const { 0: first, 1: second } = names;
      const what = second === undefined ? '"' + first + '" argument' : '"' + first + '" and "' + second + '" arguments';
      throw fail('The ' + what + ' must be specified', 'ERR_MISSING_ARGS');
    }
  }

  // ---- URLSearchParams ----

  const KEYS = 0;
  const VALUES = 1;
  const ENTRIES = 2;

  let linkParams; // (url, query): the parameters of `url`, which write their changes to it
  let reloadParams; // (params, query): the URL's query has changed
  let writeQuery; // (url, query): the parameters have changed
  let pairsOf; // (params): the list

  class ParamsIterator {
    #params;
    #kind;
    #next = 0;

    constructor(params, kind) {
      this.#params = params;
      this.#kind = kind;
    }

    next() {
      const pairs = pairsOf(this.#params);
      const at = this.#next;
      if (at >= pairs.length) return { value: undefined, done: true };
      this.#next = at + 2;
      if (this.#kind === ENTRIES) return { value: [pairs[at], pairs[at + 1]], done: false };
      return { value: pairs[at + this.#kind], done: false };
    }

    static {
      platform[platform.length] = (object) => {
        if (!(#params in object)) return undefined;
        const pairs = pairsOf(object.#params);
        const items = list();
        for (let at = object.#next; at < pairs.length; at += 2) {
          items[items.length] = object.#kind === ENTRIES ? [pairs[at], pairs[at + 1]] : pairs[at + object.#kind];
        }
        return { __proto__: null, name: 'URLSearchParams Iterator', items };
      };
    }
  }
  delete ParamsIterator.prototype.constructor;
  setPrototypeOf(ParamsIterator.prototype, getPrototypeOf(getPrototypeOf([][iterator]())));
  defineProperty(ParamsIterator.prototype, 'next', { __proto__: null, enumerable: true });
  defineProperty(ParamsIterator.prototype, toStringTag, {
    __proto__: null, value: 'URLSearchParams Iterator', configurable: true,
  });

  // The list of an iterable of pairs.
  function pairsFromIterable(iterable) {
    const pairs = list();
    const notPair = 'Each query pair must be an iterable [name, value] tuple';
    for (const pair of iterable) {
      const isObject = (typeof pair === 'object' && pair !== null) || typeof pair === 'function';
      if (!isObject || typeof pair[iterator] !== 'function') {
        throw fail(notPair, 'ERR_INVALID_TUPLE');
      }
      let count = 0;
      for (const part of pair) {
        count++;
        if (count <= 2) pairs[pairs.length] = text(part);
      }
      if (count !== 2) throw fail(notPair, 'ERR_INVALID_TUPLE');
    }
    return pairs;
  }

  // The list of an object's own enumerable properties. Two names that differ only in lone surrogates are one.
  function pairsFromRecord(record) {
    const pairs = list();
    const names = ownKeys(record);
    const places = { __proto__: null };
    for (let i = 0; i < names.length; i++) {
      const descriptor = getOwnPropertyDescriptor(record, names[i]);
      if (descriptor === undefined || !descriptor.enumerable) continue;
      const name = text(names[i]);
      const value = text(record[names[i]]);
      const place = places[name] ?? pairs.length;
      places[name] = place;
      pairs[place] = name;
      pairs[place + 1] = value;
    }
    return pairs;
  }

  class URLSearchParams {
    #pairs; // names and values in turn
    #url = null;

    constructor(init = undefined) {
      if (init !== null && (typeof init === 'object' || typeof init === 'function')) {
        const method = init[iterator];
        if (method === undefined || method === null) {
          this.#pairs = pairsFromRecord(init);
        } else if (typeof method !== 'function') {
          throw fail('Query pairs must be iterable', 'ERR_ARG_NOT_ITERABLE');
        } else {
          this.#pairs = pairsFromIterable(init);
        }
      } else if (init === undefined) {
        this.#pairs = list();
      } else {
        const query = text(init);
        this.#pairs = formParse(charAt(query, 0) === '?' ? slice(query, 1) : query);
      }
    }

    #changed() {
      if (this.#url !== null) writeQuery(this.#url, formSerialize(this.#pairs));
    }

    get size() {
      return this.#pairs.length / 2;
    }

    append(name, value) {
      this.#pairs;
      requireArguments(arguments.length, ['name', 'value']);
      name = text(name);
      value = text(value);
      const pairs = this.#pairs;
      pairs[pairs.length] = name;
      pairs[pairs.length] = value;
      this.#changed();
    }

    delete(name, value = undefined) {
      this.#pairs;
      requireArguments(arguments.length, ['name']);
      name = text(name);
      if (value !== undefined) value = text(value);
      const pairs = this.#pairs;
      const kept = list();
      for (let at = 0; at < pairs.length; at += 2) {
        if (pairs[at] === name && (value === undefined || pairs[at + 1] === value)) continue;
        kept[kept.length] = pairs[at];
        kept[kept.length] = pairs[at + 1];
      }
      this.#pairs = kept;
      this.#changed();
    }

    get(name) {
      this.#pairs;
      requireArguments(arguments.length, ['name']);
      name = text(name);
      const pairs = this.#pairs;
      for (let at = 0; at < pairs.length; at += 2) {
        if (pairs[at] === name) return pairs[at + 1];
      }
      return null;
    }

    getAll(name) {
      this.#pairs;
      requireArguments(arguments.length, ['name']);
      name = text(name);
      const pairs = this.#pairs;
      const values = [];
      for (let at = 0; at < pairs.length; at += 2) {
        if (pairs[at] === name) put(values, values.length, pairs[at + 1]);
      }
      return values;
    }

    has(name, value = undefined) {
      this.#pairs;
      requireArguments(arguments.length, ['name']);
      name = text(name);
      if (value !== undefined) value = text(value);
      const pairs = this.#pairs;
      for (let at = 0; at < pairs.length; at += 2) {
        if (pairs[at] === name && (value === undefined || pairs[at + 1] === value)) return true;
      }
      return false;
    }

    set(name, value) {
      this.#pairs;
      requireArguments(arguments.length, ['name', 'value']);
      name = text(name);
      value = text(value);
      const pairs = this.#pairs;
      const kept = list();
      let found = false;
      for (let at = 0; at < pairs.length; at += 2) {
        const same = pairs[at] === name;
        if (same && found) continue;
        kept[kept.length] = pairs[at];
        kept[kept.length] = same ? value : pairs[at + 1];
        found ||= same;
      }
      if (!found) {
        kept[kept.length] = name;
        kept[kept.length] = value;
      }
      this.#pairs = kept;
      this.#changed();
    }

    // By name, in the order of UTF-16 units; pairs with the same name keep their order.
    sort() {
      const pairs = this.#pairs;
      const order = list();
      for (let at = 0; at < pairs.length; at += 2) order[order.length] = at;
      sort(order, (a, b) => (pairs[a] < pairs[b] ? -1 : pairs[a] > pairs[b] ? 1 : a - b));
      const sorted = list();
      for (let i = 0; i < order.length; i++) {
        sorted[sorted.length] = pairs[order[i]];
        sorted[sorted.length] = pairs[order[i] + 1];
      }
      this.#pairs = sorted;
      this.#changed();
    }

    entries() {
      this.#pairs;
      return new ParamsIterator(this, ENTRIES);
    }

    forEach(callback, thisArg = undefined) {
      this.#pairs;
      if (typeof callback !== 'function') {
        throw fail('The "callback" argument must be of type function.', 'ERR_INVALID_ARG_TYPE');
      }
      for (let at = 0; at < this.#pairs.length; at += 2) {
        call(callback, thisArg, this.#pairs[at + 1], this.#pairs[at], this);
      }
    }

    keys() {
      this.#pairs;
      return new ParamsIterator(this, KEYS);
    }

    values() {
      this.#pairs;
      return new ParamsIterator(this, VALUES);
    }

    toString() {
      return formSerialize(this.#pairs);
    }

    static {
      linkParams = (url, query) => {
        const params = new URLSearchParams();
        params.#pairs = formParse(query);
        params.#url = url;
        return params;
      };
      reloadParams = (params, query) => {
        params.#pairs = formParse(query);
      };
      pairsOf = (params) => params.#pairs;
      platform[platform.length] = (object) =>
        #pairs in object ? { __proto__: null, entries: object.#pairs } : undefined;
    }
  }
  defineProperty(URLSearchParams.prototype, iterator, {
    __proto__: null, value: URLSearchParams.prototype.entries, writable: true, configurable: true,
  });
  expose('URLSearchParams', URLSearchParams, [
    'size', 'append', 'delete', 'get', 'getAll', 'has', 'set', 'sort', 'entries', 'forEach', 'keys', 'values', 'toString',
  ], []);

  // ---- URL ----

  // Places in the list of `native.urlParse`.
  const HREF = 0;
  const SCHEME_END = 1;
  const USERNAME_START = 2;
  const USERNAME_END = 3;
  const HOST_START = 4;
  const HOST_END = 5;
  const PATH_START = 6;
  const QUERY_START = 7;
  const FRAGMENT_START = 8;

  const parse = (input, base) => (base === undefined ? urlParse(input) : urlParse(input, base));

  function invalid(input, base) {
    const error = fail('Invalid URL', 'ERR_INVALID_URL');
    put(error, 'input', input);
    if (base !== undefined) put(error, 'base', base);
    return error;
  }

  // A query or a fragment that is only its mark reads as empty.
  const marked = (part) => (part.length === 1 ? '' : part);

  class URL {
    #parts;
    #params = null;

    constructor(input, base = undefined) {
      requireArguments(arguments.length, ['url']);
      input = text(input);
      if (base !== undefined) base = text(base);
      this.#parts = parse(input, base);
      if (this.#parts === undefined) throw invalid(input, base);
    }

    static canParse(input, base = undefined) {
      requireArguments(arguments.length, ['url']);
      input = text(input);
      return parse(input, base === undefined ? undefined : text(base)) !== undefined;
    }

    static parse(input, base = undefined) {
      requireArguments(arguments.length, ['url']);
      input = text(input);
      if (base !== undefined) base = text(base);
      return parse(input, base) === undefined ? null : new URL(input, base);
    }

    #slice(from, to) {
      const parts = this.#parts;
      return slice(parts[HREF], parts[from], parts[to]);
    }

    #set(name, value) {
      value = text(value);
      const parts = urlSet(this.#parts[HREF], name, value);
      if (parts !== undefined) this.#parts = parts;
    }

    #reload() {
      if (this.#params !== null) reloadParams(this.#params, this.#query());
    }

    get href() {
      return this.#parts[HREF];
    }

    set href(value) {
      this.#parts;
      value = text(value);
      const parts = urlParse(value);
      if (parts === undefined) throw invalid(value, undefined);
      this.#parts = parts;
      this.#reload();
    }

    get origin() {
      return urlOrigin(this.#parts[HREF]);
    }

    get protocol() {
      const parts = this.#parts;
      return slice(parts[HREF], 0, parts[SCHEME_END] + 1);
    }

    set protocol(value) {
      this.#set('protocol', value);
    }

    get username() {
      return this.#slice(USERNAME_START, USERNAME_END);
    }

    set username(value) {
      this.#set('username', value);
    }

    get password() {
      const between = this.#slice(USERNAME_END, HOST_START); // '', '@' or ':password@'
      return charAt(between, 0) === ':' ? slice(between, 1, -1) : '';
    }

    set password(value) {
      this.#set('password', value);
    }

    get host() {
      const port = this.#port();
      const hostname = this.#slice(HOST_START, HOST_END);
      return port === '' ? hostname : hostname + ':' + port;
    }

    set host(value) {
      this.#set('host', value);
    }

    get hostname() {
      return this.#slice(HOST_START, HOST_END);
    }

    set hostname(value) {
      this.#set('hostname', value);
    }

    #port() {
      const between = this.#slice(HOST_END, PATH_START); // '', ':port', or '/.' before a path that starts with '//'
      return charAt(between, 0) === ':' ? slice(between, 1) : '';
    }

    get port() {
      return this.#port();
    }

    set port(value) {
      this.#set('port', value);
    }

    get pathname() {
      return this.#slice(PATH_START, QUERY_START);
    }

    set pathname(value) {
      this.#set('pathname', value);
    }

    #query() {
      return slice(this.#slice(QUERY_START, FRAGMENT_START), 1);
    }

    get search() {
      return marked(this.#slice(QUERY_START, FRAGMENT_START));
    }

    set search(value) {
      this.#set('search', value);
      this.#reload();
    }

    get searchParams() {
      return (this.#params ??= linkParams(this, this.#query()));
    }

    get hash() {
      return marked(slice(this.#parts[HREF], this.#parts[FRAGMENT_START]));
    }

    set hash(value) {
      this.#set('hash', value);
    }

    toString() {
      return this.#parts[HREF];
    }

    toJSON() {
      return this.#parts[HREF];
    }

    static {
      writeQuery = (url, query) => url.#set('search', query);
      // Getters are captured, so that an overridden one is not asked.
      const names = ['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname',
        'search', 'searchParams', 'hash'];
      const getters = list();
      for (let i = 0; i < names.length; i++) {
        getters[i] = uncurry(getOwnPropertyDescriptor(URL.prototype, names[i]).get);
      }
      platform[platform.length] = (object) => {
        if (!(#parts in object)) return undefined;
        const fields = list();
        for (let i = 0; i < names.length; i++) {
          fields[fields.length] = names[i];
          const get = getters[i];
          fields[fields.length] = get(object);
        }
        return { __proto__: null, fields };
      };
    }
  }
  expose('URL', URL, [
    'href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'searchParams',
    'hash', 'toString', 'toJSON',
  ], ['canParse', 'parse']);
})
