// TextEncoder and TextDecoder (WHATWG Encoding). The bytes are handled by the native helpers; here are the
// classes, their argument conversions and their errors. `atob` and `btoa` are the engine's own.
//
// Encodings: utf-8, utf-16le, utf-16be and windows-1252 (which the web also calls latin1 and ascii). Any other
// label is a RangeError.
(function (native) {
  'use strict';

  const {
    Object: { create, defineProperty, setPrototypeOf },
    Reflect: { getOwnPropertyDescriptor, getPrototypeOf },
    Function: { prototype: { bind, call } },
    String, RangeError, TypeError, ArrayBuffer, DataView, Uint8Array,
    Symbol: { toStringTag },
  } = globalThis;
  const { classOf, utf8Encode, utf8EncodeInto, decode } = native;

  // uncurry(f)(self, ...args) is f.call(self, ...args), whatever a script does to Function.prototype.
  const uncurry = bind.bind(call);
  const getter = (prototype, name) => uncurry(getOwnPropertyDescriptor(prototype, name).get);
  const charCodeAt = uncurry(String.prototype.charCodeAt);
  const slice = uncurry(String.prototype.slice);
  const toLowerCase = uncurry(String.prototype.toLowerCase);

  // ToString. The preludes have no template literals: the engine makes them calls of String.prototype.concat, which
  // a script can replace.
  function text(value) {
    if (typeof value === 'symbol') throw new TypeError('Cannot convert a Symbol value to a string');
    return String(value);
  }

  // A property as a literal makes it: no setter on a prototype is asked.
  function put(object, name, value) {
    defineProperty(object, name, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
  }

  // An error with a code, as Node has them.
  function coded(Type, message, code) {
    const error = new Type(message);
    put(error, 'code', code);
    return error;
  }

  const TypedArrayPrototype = getPrototypeOf(Uint8Array.prototype);
  const arrayParts = {
    __proto__: null,
    buffer: getter(TypedArrayPrototype, 'buffer'),
    offset: getter(TypedArrayPrototype, 'byteOffset'),
    length: getter(TypedArrayPrototype, 'byteLength'),
  };
  const viewParts = {
    __proto__: null,
    buffer: getter(DataView.prototype, 'buffer'),
    offset: getter(DataView.prototype, 'byteOffset'),
    length: getter(DataView.prototype, 'byteLength'),
  };
  const bufferLength = getter(ArrayBuffer.prototype, 'byteLength');

  const isTypedArray = {
    __proto__: null,
    Int8Array: true, Uint8Array: true, Uint8ClampedArray: true, Int16Array: true, Uint16Array: true,
    Int32Array: true, Uint32Array: true, BigInt64Array: true, BigUint64Array: true,
    Float16Array: true, Float32Array: true, Float64Array: true,
  };

  // The members of a web class are enumerable, its name is not.
  function expose(name, Class, members, staticMembers) {
    const enumerable = { __proto__: null, enumerable: true };
    for (let i = 0; i < members.length; i++) defineProperty(Class.prototype, members[i], enumerable);
    for (let i = 0; i < staticMembers.length; i++) defineProperty(Class, staticMembers[i], enumerable);
    defineProperty(Class.prototype, toStringTag, { __proto__: null, value: name, configurable: true });
    defineProperty(globalThis, name, { __proto__: null, value: Class, writable: true, configurable: true });
  }

  // One function for each class whose state is private: what to show of an object of that class, undefined for
  // any other object. clone.js refuses such objects, inspect.js shows them: `fields` holds names and values in
  // turn, `entries` keys and values.
  const platform = setPrototypeOf([], null);
  native.platform = platform;
  native.expose = expose;
  native.uncurry = uncurry;
  native.text = text;
  native.put = put;
  native.coded = coded;
  native.isTypedArray = isTypedArray;
  native.arrayParts = arrayParts;
  native.viewParts = viewParts;

  class TextEncoder {
    #brand;

    get encoding() {
      this.#brand;
      return 'utf-8';
    }

    encode(input = '') {
      this.#brand;
      return new Uint8Array(utf8Encode(text(input)));
    }

    encodeInto(source, destination) {
      this.#brand;
      source = text(source);
      if (classOf(destination) !== 'Uint8Array') {
        throw new TypeError('The "dest" argument must be an instance of Uint8Array');
      }
      const length = arrayParts.length(destination);
      if (length === 0) return { read: 0, written: 0 };
      const done = utf8EncodeInto(source, arrayParts.buffer(destination), arrayParts.offset(destination), length);
      return { read: done[0], written: done[1] };
    }

    static {
      platform[platform.length] = (object) =>
        #brand in object ? { __proto__: null, fields: ['encoding', 'utf-8'] } : undefined;
    }
  }
  expose('TextEncoder', TextEncoder, ['encoding', 'encode', 'encodeInto'], []);

  const labels = create(null);
  const label = (encoding, names) => {
    for (let i = 0; i < names.length; i++) labels[names[i]] = encoding;
  };
  label('utf-8', ['utf-8', 'utf8', 'unicode-1-1-utf-8', 'unicode11utf8', 'unicode20utf8', 'x-unicode20utf8']);
  label('utf-16le', ['utf-16le', 'utf-16', 'ucs-2', 'unicode', 'unicodefeff', 'csunicode', 'iso-10646-ucs-2']);
  label('utf-16be', ['utf-16be', 'unicodefffe']);
  label('windows-1252', [
    'windows-1252', 'cp1252', 'x-cp1252', 'latin1', 'l1', 'csisolatin1', 'ascii', 'us-ascii', 'ansi_x3.4-1968',
    'iso-8859-1', 'iso8859-1', 'iso88591', 'iso_8859-1', 'iso_8859-1:1987', 'iso-ir-100', 'cp819', 'ibm819',
  ]);

  const isSpace = (code) => code === 32 || code === 9 || code === 10 || code === 12 || code === 13;

  function encodingOf(name) {
    let start = 0;
    let end = name.length;
    while (start < end && isSpace(charCodeAt(name, start))) start++;
    while (end > start && isSpace(charCodeAt(name, end - 1))) end--;
    return labels[toLowerCase(slice(name, start, end))];
  }

  const FATAL = 1;
  const STREAM = 2;
  const empty = new ArrayBuffer(0);

  class TextDecoder {
    #encoding;
    #fatal;
    #ignoreBOM;
    #held = 0; // the bytes of a sequence that the last chunk cut in two, as `decode` packs them
    #begun = false; // whether the start of the stream, where a byte order mark can be, is past

    constructor(label = 'utf-8', options = undefined) {
      label = text(label);
      const encoding = encodingOf(label);
      if (encoding === undefined) {
        throw coded(RangeError, 'The "' + label + '" encoding is not supported', 'ERR_ENCODING_NOT_SUPPORTED');
      }
      if (options !== undefined && options !== null && typeof options !== 'object' && typeof options !== 'function') {
        throw new TypeError('The "options" argument must be of type object');
      }
      this.#encoding = encoding;
      this.#fatal = !!options?.fatal;
      this.#ignoreBOM = !!options?.ignoreBOM;
    }

    get encoding() {
      return this.#encoding;
    }

    get fatal() {
      return this.#fatal;
    }

    get ignoreBOM() {
      return this.#ignoreBOM;
    }

    decode(input = undefined, options = undefined) {
      this.#held;
      const stream = !!options?.stream;
      let buffer = empty;
      let offset = 0;
      let length = 0;
      if (input !== undefined) {
        const kind = classOf(input);
        if (kind === 'ArrayBuffer' || kind === 'SharedArrayBuffer') {
          buffer = input;
          length = kind === 'ArrayBuffer' ? bufferLength(input) : input.byteLength;
        } else {
          const parts = isTypedArray[kind] ? arrayParts : kind === 'DataView' ? viewParts : undefined;
          if (parts === undefined) {
            throw new TypeError('The "list" argument must be an instance of ArrayBuffer or ArrayBufferView.');
          }
          buffer = parts.buffer(input);
          offset = parts.offset(input);
          length = parts.length(input);
        }
      }

      if (length === 0) buffer = empty; // a detached buffer, too
      const flags = (this.#fatal ? FATAL : 0) | (stream ? STREAM : 0);
      const result = decode(this.#encoding, buffer, offset, length, this.#held, flags);
      this.#held = 0;
      if (result === undefined) {
        this.#begun = false;
        const message = 'The encoded data was not valid for encoding ' + this.#encoding;
        throw coded(TypeError, message, 'ERR_ENCODING_INVALID_ENCODED_DATA');
      }
      let decoded = result;
      if (stream) {
        decoded = result[0];
        this.#held = result[1];
      }
      const atStart = !this.#begun && decoded.length > 0;
      this.#begun = stream && (this.#begun || atStart);
      const hasMark = atStart && !this.#ignoreBOM && this.#encoding !== 'windows-1252' && charCodeAt(decoded, 0) === 0xfeff;
      return hasMark ? slice(decoded, 1) : decoded;
    }

    static {
      platform[platform.length] = (object) => {
        if (!(#encoding in object)) return undefined;
        const fields = ['encoding', object.#encoding, 'fatal', object.#fatal, 'ignoreBOM', object.#ignoreBOM];
        return { __proto__: null, fields };
      };
    }
  }
  expose('TextDecoder', TextDecoder, ['encoding', 'fatal', 'ignoreBOM', 'decode'], []);
})
