// `System.oracle(fn)`: what a script may ask of the world outside. The host copies the realm and runs `fn` in the copy, with
// real time, real chance and `fetch`; only the JSON of its value, or its error, comes back here. On replay `fn` never runs.
(function (native, runtime) {
  'use strict';
  const { host } = native;
  const { apply } = Reflect;
  const { parse, stringify } = JSON;
  const { defineProperty, freeze } = Object;
  const PromiseConstructor = Promise;
  const resolved = Promise.resolve;
  const rejected = Promise.reject;
  const BytesConstructor = Uint8Array;
  const indexOf = Function.prototype.call.bind(Uint8Array.prototype.indexOf);
  const subarray = Function.prototype.call.bind(Uint8Array.prototype.subarray);
  const bytesSlice = Function.prototype.call.bind(Uint8Array.prototype.slice);
  const toLowerCase = Function.prototype.call.bind(String.prototype.toLowerCase);
  const decode = (bytes) => new TextDecoder().decode(bytes);
  const OP_ORACLE = 5, OP_FETCH = 6;
  const CONSTRUCTORS = { __proto__: null, TypeError, RangeError, SyntaxError, ReferenceError, URIError, EvalError };

  let asking; // the function that an oracle is to run
  let inside = false; // this realm is a fork

  function failure(name, message) {
    const error = new (CONSTRUCTORS[name] || Error)(message);
    if (error.name !== name) error.name = name;
    return error;
  }

  function oracle(fn) {
    if (typeof fn !== 'function') throw new TypeError('System.oracle takes a function');
    if (inside) throw failure('NestedOracleError', 'An oracle cannot ask another one');
    asking = fn;
    const answer = host(OP_ORACLE, '');
    asking = undefined;
    const { value, error } = parse(answer);
    return error
      ? apply(rejected, PromiseConstructor, [failure(error.name, error.message)])
      : apply(resolved, PromiseConstructor, [value]);
  }

  class Headers {
    #rows;
    constructor(rows) { this.#rows = rows; }
    get(name) {
      name = toLowerCase('' + name);
      let found = null;
      for (let i = 0; i < this.#rows.length; i++) {
        if (this.#rows[i][0] === name) found = found === null ? this.#rows[i][1] : found + ', ' + this.#rows[i][1];
      }
      return found;
    }
    has(name) { return this.get(name) !== null; }
    forEach(callback) { for (const [name, value] of this) callback(value, name, this); }
    *[Symbol.iterator]() { for (let i = 0; i < this.#rows.length; i++) yield [this.#rows[i][0], this.#rows[i][1]]; }
    entries() { return this[Symbol.iterator](); }
  }

  class Response {
    #body;
    constructor(head, body) {
      this.#body = body;
      this.status = head.status;
      this.statusText = head.statusText;
      this.ok = head.status >= 200 && head.status < 300;
      this.url = head.url;
      this.headers = new Headers(head.headers);
    }
    async text() { return decode(this.#body); }
    async json() { return parse(decode(this.#body)); }
    async bytes() { return bytesSlice(this.#body); }
    async arrayBuffer() { return bytesSlice(this.#body).buffer; }
  }

  async function fetch(url, options) {
    const { method = 'GET', headers = {}, body } = options || {};
    const rows = [];
    const pairs = typeof headers[Symbol.iterator] === 'function' ? [...headers] : Object.entries(headers);
    for (const [name, value] of pairs) rows[rows.length] = ['' + name, '' + value];
    let data = body;
    if (data === undefined || data === null) data = '';
    else if (data instanceof ArrayBuffer) data = new BytesConstructor(data);
    else if (ArrayBuffer.isView(data)) data = new BytesConstructor(data.buffer, data.byteOffset, data.byteLength);
    else data = '' + data;
    const answer = host(OP_FETCH, stringify({ url: '' + url, method: '' + method, headers: rows }), data);
    if (Array.isArray(answer)) throw failure(answer[0], answer[1]);
    // A line of JSON, then the body.
    const end = indexOf(answer, 10);
    return new Response(parse(decode(subarray(answer, 0, end))), subarray(answer, end + 1));
  }

  // The entry point in a fork.
  function consult() {
    inside = true;
    defineProperty(globalThis, 'fetch', { value: fetch, writable: true, configurable: true, enumerable: false });
    const value = apply(asking, undefined, []);
    return value !== null && (typeof value === 'object' || typeof value === 'function')
      ? apply(resolved, PromiseConstructor, [value])
      : value;
  }

  runtime.oracle = freeze(oracle);
  runtime.consult = consult;
})
