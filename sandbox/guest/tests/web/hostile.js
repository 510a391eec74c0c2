// What a hostile script can do to the language before the web globals are used: every method and getter of every
// prototype throws, arrays and objects have setters and inherited descriptor fields, and no built-in name is left.
// The cases use operators only, so that nothing here depends on what has been broken; nor do they have template
// literals, which the engine makes calls of String.prototype.concat.
(function (print, inspect, format) {
  'use strict';

  const buffer = new Uint8Array([1, 2, 3]).buffer;
  const value = {
    text: "it's", list: [1, 2, 3, 4, 5, 6, 7, 8], map: new Map([[1, { a: 2 }]]), set: new Set(['x']), date: new Date(0), regexp: /a\/b/gi,
    buffer, view: new Uint16Array(4), data: new DataView(buffer, 1), number: new Number(1), error: new TypeError('boo'), big: 10n, symbol: Symbol('s'),
    promise: new Promise(() => {}), f: function f() {}, C: class C extends Map {}, nothing: Object.create(null),
  };
  value.error.stack = 'TypeError: boo\n    at place (file.js:1:2)';
  const { symbol, promise, f, C, ...cloneable } = value;
  value.self = value;
  cloneable.self = cloneable;
  const globals = { URL, URLSearchParams, TextEncoder, TextDecoder, structuredClone };
  const bytes = new Uint8Array([0xc3, 0xa9]);

  const broken = function () {
    throw 'broken';
  };
  const { hasOwn } = Object;
  const { ownKeys, getOwnPropertyDescriptor, defineProperty, getPrototypeOf } = Reflect;
  const spared = [broken];
  for (const name in globals) spared[spared.length] = globals[name].prototype;
  const prototypes = [getPrototypeOf(Uint8Array.prototype), getPrototypeOf(getPrototypeOf([][Symbol.iterator]())), getPrototypeOf([][Symbol.iterator]()),
    getPrototypeOf(new Map().entries()), getPrototypeOf(new Set().values()), getPrototypeOf(''[Symbol.iterator]())];
  for (const name of ownKeys(globalThis)) {
    const constructor = globalThis[name];
    if (typeof constructor === 'function' && constructor.prototype && !spared.includes(constructor.prototype)) prototypes.push(constructor.prototype);
  }
  const objects = [Reflect, Object, JSON, Math, Number, Symbol, Promise, Array, Map, Error];
  const keep = ['constructor', 'name', 'length', 'prototype', 'message'];
  const all = [];
  for (const object of [...prototypes, ...objects]) {
    for (const key of ownKeys(object)) {
      if (keep.includes(key)) continue;
      const descriptor = getOwnPropertyDescriptor(object, key);
      if (descriptor.configurable) all.push([object, key, 'value' in descriptor]);
    }
  }
  for (let i = 0; i < all.length; i++) {
    const object = all[i][0];
    const key = all[i][1];
    const data = all[i][2];
    const isTag = key === Symbol.toStringTag;
    if (isTag) continue;
    defineProperty(object, key, data ? { __proto__: null, value: broken, configurable: true } : { __proto__: null, get: broken, set: broken, configurable: true });
  }
  const setter = { __proto__: null, set: broken, get: broken, configurable: true };
  for (let i = 0; i < 20; i++) defineProperty(Array.prototype, '' + i, setter);
  const poison = ['get', 'set', 'writable', 'enumerable', 'configurable', 'a', 'b', 'x', 'done', 'value', 'fields', 'entries', 'left', 'depth', 'at', 'read', 'written', 'code', 'input'];
  for (let i = 0; i < poison.length; i++) defineProperty(Object.prototype, poison[i], setter);
  for (const name in globals) defineProperty(globalThis, name, { __proto__: null, value: broken });

  const show = (name, fn) => {
    let text;
    try {
      text = fn();
    } catch (error) {
      text = 'throws ' + (error === 'broken' ? error : '' + error.name + (hasOwn(error, 'code') ? ' ' + error.code : '') + ' ' + error.message);
    }
    print('## ' + name + '\n' + text + '\n');
  };

  show('inspect', () => inspect(value));
  show('format', () => format(['%s %d %O|', 'a', 1, { y: 1 }, [1]]));
  show('clone', () => inspect(globals.structuredClone(cloneable)));
  show('clone of a function', () => globals.structuredClone({ f }));
  show('URL', () => {
    const url = new globals.URL('../x?q=1&r=a%20b', 'https://user:pw@EXAMPLE.com:81/a/b/c');
    url.searchParams.append('new', "v'");
    url.searchParams.sort();
    url.port = '82';
    url.hash = 'f';
    return url.href + ' ' + url.origin + ' ' + url.username + ' ' + url.password + ' ' + url.host + ' ' + url.pathname + ' ' + url.search + ' ' + url.searchParams.get('r') + ' ' + inspect(url.searchParams);
  });
  show('an invalid URL', () => new globals.URL('nope'));
  show('encoding', () => {
    const encoded = new globals.TextEncoder().encode('\u20ac');
    const room = new globals.TextEncoder().encodeInto('ab', encoded);
    const decoder = new globals.TextDecoder(' UTF8 ');
    return encoded[0] + ' ' + encoded[2] + ' ' + room.read + ' ' + decoder.decode(bytes) + ' ' + decoder.decode(bytes, { __proto__: null, stream: true });
  });
  show('an invalid label', () => new globals.TextDecoder('nope'));
})
