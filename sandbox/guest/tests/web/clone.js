(function (cases) {
  'use strict';

  const { check, differs, inspect, describe } = cases;
  const clone = structuredClone;
  const show = (value) => inspect(value, { depth: 9, showHidden: false });
  const same = (name, value) => check(name, () => {
    const copy = clone(value);
    return `${show(copy)}${typeof value === 'object' && value !== null && copy === value ? ' (the same object)' : ''}`;
  });
  const attempt = (fn) => {
    try {
      return fn();
    } catch (error) {
      return describe(error);
    }
  };

  check('primitives', () => [undefined, null, true, 0, -0, NaN, 1.5, 'text', '\ud800', 10n].map((value) => Object.is(clone(value), value)).join());
  same('a plain object', { a: 1, b: { c: [1, 2, { d: null }] }, 3: 4, __proto__: { inherited: 1 } });
  same('boxed primitives', [new Number(-0), new String('abc'), new Boolean(false), Object(5n)]);
  same('a Date', new Date(86400000));
  same('an invalid Date', new Date(NaN));
  same('a RegExp', /a\/b/giu);
  check('lastIndex is not kept', () => {
    const regexp = /a/g;
    regexp.lastIndex = 3;
    regexp.extra = 1;
    const copy = clone(regexp);
    return [copy.lastIndex, copy.extra, copy.flags, copy.source].join();
  });
  same('a RegExp with all flags', new RegExp('[a-z]', 'dgimsvy'));
  same('an Array', [1, 'a', [2]]);
  same('a sparse Array with a property', Object.assign([1, , 3, , ,], { extra: 'x', [-1]: 'y' }));
  check('the length of a sparse Array', () => clone(new Array(1000)).length);
  same('a Map', new Map([['a', 1], [{ k: 1 }, new Map([[1, 2]])], [NaN, -0]]));
  same('a Set', new Set([1, 'a', { b: 2 }, new Set([3])]));
  check('a Map that holds itself', () => {
    const map = new Map();
    map.set('self', map).set(map, 1);
    const copy = clone(map);
    return [copy.get('self') === copy, copy.get(copy), copy !== map].join();
  });
  same('an ArrayBuffer', Uint8Array.from([1, 2, 3]).buffer);
  same('typed arrays', [Uint8Array, Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array].map((Type) => Type.from([1, 2])));
  same('typed arrays of bigints', [BigInt64Array.from([-1n]), BigUint64Array.from([1n])]);
  same('a DataView', new DataView(Uint8Array.from([1, 2, 3, 4]).buffer, 1, 2));
  check('views share their buffer', () => {
    const buffer = new ArrayBuffer(8);
    const copy = clone({ a: new Uint8Array(buffer), b: new Uint16Array(buffer, 2, 2), c: new DataView(buffer), buffer });
    copy.a[2] = 7;
    return [copy.a.buffer === copy.b.buffer, copy.c.buffer === copy.buffer, copy.buffer === copy.a.buffer, copy.b[0], copy.b.byteOffset, copy.b.length, buffer !== copy.buffer].join();
  });
  check('a resizable buffer stays resizable', () => {
    const copy = clone(new ArrayBuffer(4, { maxByteLength: 16 }));
    return [copy.byteLength, copy.resizable, copy.maxByteLength].join();
  });
  check('a shared reference stays one object', () => {
    const shared = { x: 1 };
    const copy = clone([shared, shared, { shared }]);
    return [copy[0] === copy[1], copy[2].shared === copy[0], copy[0] !== shared].join();
  });
  check('a cycle', () => {
    const object = { list: [] };
    object.self = object;
    object.list.push(object, object.list);
    const copy = clone(object);
    return [copy.self === copy, copy.list[0] === copy, copy.list[1] === copy.list, copy !== object].join();
  });
  check('an instance becomes a plain object', () => {
    class Point {
      #hidden = 1;
      x = 1;
      get y() {
        return 2;
      }
    }
    const copy = clone(new Point());
    return `${show(copy)} ${copy.constructor === Object}`;
  });
  check('getters are read, symbols and hidden properties are not kept', () => {
    const object = { get a() { return 1; }, [Symbol('s')]: 2 };
    Object.defineProperty(object, 'hidden', { value: 3 });
    return show(Object.getOwnPropertyDescriptors(clone(object)));
  });
  check('a null prototype is not kept', () => Object.getPrototypeOf(clone(Object.create(null, { a: { value: 1, enumerable: true } }))) === Object.prototype);
  check('a property named __proto__', () => {
    const copy = clone(JSON.parse('{"__proto__": {"x": 1}, "a": 2}'));
    return [Object.keys(copy), copy.x, Object.getPrototypeOf(copy) === Object.prototype].join(' ');
  });
  check('a frozen object is copied unfrozen', () => Object.isFrozen(clone(Object.freeze({ a: 1 }))));
  check('arguments', () => (function () {
    return show(clone(arguments));
  })(1, 2));
  for (const Type of [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError]) {
    check(`a ${Type.name}`, () => {
      const error = new Type('message');
      error.extra = 1;
      const copy = clone(error);
      return [copy instanceof Type, copy.constructor === Type, copy.name, copy.message, copy.extra, Object.hasOwn(copy, 'name'), Object.keys(copy).length, copy.stack === error.stack].join();
    });
  }
  check('an error of a subclass', () => {
    class Mine extends TypeError {}
    const copy = clone(new Mine('m'));
    return [copy instanceof TypeError, copy instanceof Mine, copy.name].join();
  });
  check('an error with a name of its own', () => {
    const error = new Error('m');
    error.name = 'Mine';
    const other = new Error('m');
    other.name = 'RangeError';
    return [clone(error).name, clone(other).name, clone(other) instanceof RangeError].join();
  });
  check('an error without a message', () => [Object.hasOwn(clone(new Error()), 'message'), Object.hasOwn(clone(new Error('')), 'message')].join());
  check('the cause of an error', () => {
    const error = new Error('outer', { cause: new TypeError('inner') });
    const copy = clone(error);
    return [copy.cause instanceof TypeError, copy.cause?.message, copy.cause !== error.cause, Object.hasOwn(copy, 'cause')].join();
  });
  differs('a DOMException', 'Node 20 makes it a bare object', () => {
    const copy = clone(new DOMException('m', 'AbortError'));
    return [copy instanceof DOMException, copy.name, copy.message, copy.code].join();
  });
  const bad = [['a function', () => 1], ['a symbol', Symbol('s')], ['a boxed symbol', Object(Symbol('s'))], ['a promise', Promise.resolve()], ['a WeakMap', new WeakMap()], ['a WeakSet', new WeakSet()],
    ['a proxy', new Proxy({}, {})], ['a proxy of a function', new Proxy(() => 1, {})], ['a proxy of an array', new Proxy([], {})], ['a generator', (function* () {})()], ['an iterator of a Map', new Map().entries()], ['a class', class {}], ['globalThis.Math.max', Math.max]];
  for (const [name, value] of bad) {
    check(`${name} is refused`, () => clone(value));
    check(`${name} inside is refused`, () => clone({ a: [value] }));
  }
  differs('a URL is refused', 'Node 20 makes it an empty object', () => [new URL('http://h/'), new URLSearchParams(), new TextEncoder(), new TextDecoder(), new URLSearchParams().keys()].map((value) => attempt(() => show(clone(value)))).join());
  check('the refusal is a DOMException', () => {
    try {
      clone(Symbol('x'));
    } catch (error) {
      return [error instanceof DOMException, error.name, error.code, error.message].join();
    }
  });
  check('a getter that throws', () => clone({ get a() { throw new RangeError('mine'); } }));
  check('a transfer moves', () => {
    const buffer = Uint8Array.from([1, 2, 3]).buffer;
    const view = new Uint8Array(buffer, 1);
    const copy = clone({ view, buffer }, { transfer: [buffer] });
    return [buffer.byteLength, view.length, copy.buffer.byteLength, copy.view.join('+'), copy.view.buffer === copy.buffer].join();
  });
  check('a transfer of what is not in the value', () => {
    const buffer = new ArrayBuffer(3);
    clone(1, { transfer: [buffer] });
    return buffer.byteLength;
  });
  check('a failed transfer leaves the buffer', () => {
    const buffer = new ArrayBuffer(3);
    return `${attempt(() => clone({ buffer, f() {} }, { transfer: [buffer] }))} ${buffer.byteLength}`;
  });
  check('a transfer of the same twice', () => {
    const buffer = new ArrayBuffer(3);
    return clone(1, { transfer: [buffer, buffer] });
  });
  differs('a transfer of a detached buffer', 'Node 20 ignores it', () => {
    const buffer = new ArrayBuffer(3);
    clone(1, { transfer: [buffer] });
    return clone(1, { transfer: [buffer] });
  });
  check('a detached buffer', () => {
    const buffer = new ArrayBuffer(3);
    clone(1, { transfer: [buffer] });
    return clone(buffer);
  });
  differs('a transfer of a wrong type', 'Node 20 throws a TypeError', () => [[{}], [1], ['x'], [new Uint8Array(1)]].map((transfer) => attempt(() => clone(1, { transfer }))).join());
  check('a transfer that is no list', () => clone(1, { transfer: 5 }));
  check('options', () => [clone(1, undefined), clone(2, null), clone(3, {}), clone(4, { transfer: undefined }), clone(5, { transfer: [] })].join());
  check('options of a wrong type', () => clone(1, 'x'));
  check('no argument', () => clone());
  differs('depth is no limit', 'Node is limited by its stack', () => {
    let value = null;
    for (let i = 0; i < 100000; i++) value = [value];
    let depth = 0;
    for (let at = clone(value); at !== null; at = at[0]) depth++;
    return depth;
  });
  check('getters run in the order of a recursive copy', () => {
    const seen = [];
    const object = (name, inner) => ({ get a() { seen.push(`${name}a`); return inner; }, get b() { seen.push(`${name}b`); return 1; } });
    clone([object(1, object(2, new Map([[object(3), object(4)], [5, object(6)]]))), object(7)]);
    return seen;
  });
  check('entries that change while they are copied', () => {
    const map = new Map();
    map.set('a', { get x() { map.set('c', 3); return 1; } }).set('b', 2);
    return [...clone(map).keys()].join();
  });
})
