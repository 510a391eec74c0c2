(function (cases) {
  'use strict';

  const { check, differs, inspect, format } = cases;
  const show = (name, value, options) => check(name, () => inspect(value, options));
  const traced = (error, header) => {
    error.stack = `${header}\n    at place (file.js:1:2)`;
    return error;
  };
  const range = (count, map = (i) => i) => Array.from({ length: count }, (_, i) => map(i));

  // ---- Primitives ----
  show('numbers', [0, -0, 1.5, NaN, -Infinity, 1e21, 1e-7, 0xff]);
  show('minus zero', -0);
  show('bigints', [0n, -12n, 2n ** 70n]);
  show('symbols', [Symbol('a b'), Symbol(), Symbol.iterator, Symbol.for('x')]);
  show('undefined, null, booleans', [undefined, null, true, false]);
  show('quotes', ['plain', "it's", 'say "hi"', `it's "both"`, 'it\'s "all" `three`', "a ' and ${x}", "it's \"x\" ${y}"]);
  show('escapes', ['\n\t\r\b\f\v\0', '\x01\x1f\x7f\x80\x9f', '\\', '\ud800', 'a\udc00b', '\u{1f600}', '\u2028\ufeff']);
  show('a string', "it's");
  show('a text of several lines alone', 'first line of text\nsecond line of text\n');
  show('a text of several lines inside', { text: 'first line of a long text that goes on\nsecond line of it which is also long enough\nthird' });
  show('a long string', 'x'.repeat(10010));
  show('a long string inside', ['y'.repeat(10001)]);

  // ---- Objects ----
  show('empty', [{}, [], new Map(), new Set(), function () {}, new (class A {})(), Object.create(null)]);
  show('names of properties', { a: 1, 'b-c': 2, 3: 4, _d: 5, $e: 6, 'f g': 7, '': 8, "it's": 9, '\u00fc': 10, a1: 11, '1a': 12, [Symbol('s y')]: 13, 'x\ny': 14 });
  show('a property named __proto__', JSON.parse('{"__proto__": 1}'));
  show('depth', { a: { b: { c: { d: 1 } }, e: [[[1]]] } });
  show('depth of other kinds', { a: { b: { c: new Map([[1, 2]]), d: new (class Foo { x = 1; })(), e: new Date(0), f: /x/, g: () => 1, h: new Error('x').message, i: new Set(), j: Object.create(null), k: new Uint8Array(2), l: [] } } });
  show('depth 0', { a: {}, b: { c: 1 }, d: [1], e: [] }, { depth: 0 });
  show('depth null', { a: { b: { c: { d: { e: { f: 1 } } } } } }, { depth: null });
  show('one line of 72', { aaaaaaaaaa: 1, bbbbbbbbbb: 2, cccccccccc: 3, dddddddddd: 4, eeeeeeee: 5 });
  show('just over one line', { aaaaaaaaaa: 1, bbbbbbbbbb: 2, cccccccccc: 3, dddddddddd: 4, eeeeeeeeeeeee: 55 });
  show('three levels on one line', { a: { b: { c: {} } } });
  show('four levels', { a: { b: { c: { d: 1 } } } }, { depth: 5 });
  show('a mix', { users: [{ name: 'Ann', tags: ['a', 'b'], born: new Date(0) }, { name: 'Bob', tags: [], address: { city: 'Bern', zip: '3000' } }], total: 2, next: null });
  show('classes', [new (class Foo { a = 1; })(), new (class extends Map {})(), new (class Bar extends Array {})(3), new (class Baz extends Set {})([1])]);
  show('a class with a tag', new (class Foo { get [Symbol.toStringTag]() { return 'Tag'; } })());
  show('a tag of its own', { [Symbol.toStringTag]: 'T', a: 1 });
  show('a hidden tag', Object.defineProperty({ a: 1 }, Symbol.toStringTag, { value: 'T' }));
  show('null prototypes', [Object.create(null), Object.assign(Object.create(null), { a: 1 }), Object.setPrototypeOf([1], null), Object.setPrototypeOf(new Map([[1, 2]]), null), Object.setPrototypeOf(/x/g, null), Object.setPrototypeOf(new Date(0), null)]);
  show('a prototype without a constructor', Object.create(Object.create(null)));
  show('a deeper prototype without a constructor', Object.create(Object.create({ constructor: undefined })));
  show('prototypes', [Object.prototype, (class Foo { m() {} }).prototype, Object.create({ a: 1 })]);
  show('a constructor that is not', { constructor: 'x' });
  show('accessors', { get a() { return 1; }, set b(v) {}, get c() { return 1; }, set c(v) {}, get d() { throw new Error('no'); } });
  show('hidden properties', Object.defineProperty({ a: 1 }, 'h', { value: 2 }));
  show('hidden properties shown', Object.defineProperty({ a: 1 }, 'h', { value: 2 }), { showHidden: true });
  show('symbol properties', { [Symbol('a')]: 1, [Symbol('b')]: { c: 2 }, [Symbol.iterator]: 3 });
  check('circular', () => {
    const object = { a: 1, b: {} };
    object.self = object;
    object.b.parent = object;
    object.b.own = object.b;
    return inspect(object);
  });
  check('circular array and map', () => {
    const array = [1];
    array.push(array);
    const map = new Map([['x', array]]);
    map.set(map, map);
    return inspect([array, map]);
  });
  check('the same object twice is no circle', () => {
    const shared = { x: 1 };
    return inspect([shared, shared]);
  });
  show('arguments', (function () { return arguments; })(1, 'a'));
  show('an empty arguments', (function () { return arguments; })());

  // ---- Arrays ----
  show('holes', [[, 1], [1, , 2], [1, , , ,], new Array(3), Object.assign([, 1], { x: 2 })]);
  show('properties of an array', Object.assign([1, 2], { a: 1, 'b-c': 2, [-1]: 3, [Symbol('s')]: 4 }));
  for (const count of [6, 7, 10, 16, 26, 27, 50, 99, 100, 101, 120, 250]) show(`${count} numbers`, range(count));
  show('numbers of many widths', range(40, (i) => i ** 3));
  show('negative and fractional numbers', range(20, (i) => (i - 10) * 1.25));
  show('bigints in columns', range(12, (i) => 10n ** BigInt(i)));
  show('short strings', range(20, (i) => 'x'.repeat(i % 7)));
  show('words', 'the quick brown fox jumps over the lazy dog and runs away from the big bad wolf'.split(' '));
  show('long strings', range(8, (i) => 'word '.repeat(i + 3)));
  show('one long string among short ones', [...range(12, (i) => `s${i}`), 'z'.repeat(60)]);
  show('mixed array', [1, 'a', null, undefined, true, {}, [], 1n, Symbol('x'), -0]);
  show('objects in an array', range(8, (i) => ({ i })));
  show('arrays in an array', range(9, (i) => range(i)));
  show('pairs', range(10, (i) => [i, `v${i}`]));
  show('wide characters', range(10, (i) => '\u65e5\u672c'.repeat(1 + (i % 3))));
  show('emoji and accents', range(8, (i) => (i % 2 ? '\u{1f600}' : 'e\u0301')));
  show('numbers inside an object', { list: range(30), deep: { list: range(30, (i) => i * 100) } });
  show('101 strings', range(101, (i) => `item ${i}`));
  show('maxArrayLength', range(10), { maxArrayLength: 3 });
  show('maxArrayLength 0', [range(3), new Set([1]), new Uint8Array(2)], { maxArrayLength: 0 });
  show('maxStringLength', ['abcdef'], { maxStringLength: 3 });
  check('a long hole', () => {
    const array = [];
    array[5000] = 1;
    return inspect(array);
  });

  // ---- Collections and buffers ----
  show('maps', [new Map([['a', 1], [{ b: 2 }, [3]]]), new Map([[new Map(), new Set()]])]);
  show('a long map', new Map(range(12, (i) => [`key ${i}`, { value: i }])));
  show('a set', new Set([1, 'a', { b: [1, { c: {} }] }]));
  show('101 in a set and a map', [new Set(range(102)), new Map(range(101, (i) => [i, i]))]);
  show('a map with a property', Object.assign(new Map([[1, 2]]), { x: 1 }));
  show('weak collections', [new WeakMap(), new WeakSet()]);
  show('typed arrays', [new Uint8Array(3), Float64Array.from([1.5, -0, NaN]), BigInt64Array.from([1n]), new Uint8ClampedArray(0), Int16Array.from(range(20, (i) => -i))]);
  show('a typed array with a property', Object.assign(new Uint8Array(1), { x: 1 }));
  show('a long typed array', new Uint8Array(120));
  show('buffers', [new ArrayBuffer(0), Uint8Array.from([1, 171, 255]).buffer]);
  show('a long buffer', new ArrayBuffer(120));
  show('a DataView', new DataView(new ArrayBuffer(4), 1, 2));
  check('a detached buffer', () => {
    const buffer = new ArrayBuffer(3);
    structuredClone(buffer, { transfer: [buffer] });
    return inspect(buffer);
  });

  // ---- Functions ----
  show('functions', [function f() {}, () => {}, async function g() {}, function* h() {}, async function* k() {}, async () => {}, class A {}, class extends Object {}, class B extends Map {}, Math.max, function () {}.bind(null), class C extends null {}]);
  show('a function with properties', Object.assign(function f() {}, { a: 1, b: { c: 2 } }));
  show('a class with statics', class A { static x = 1; static m() {} });
  show('a function without a name', Object.defineProperty(function f() {}, 'name', { value: '' }));
  show('a function with a null prototype', Object.setPrototypeOf(function f() {}, null));
  show('methods', { m() {}, async n() {}, *g() {}, get a() { return 1; }, ['x y']() {}, [Symbol('s')]() {} });
  show('a method of a class', (class A { m() {} }).prototype.m);

  // ---- Others ----
  show('dates', [new Date(0), new Date(NaN), Object.assign(new Date(0), { x: 1 }), new (class D extends Date {})(0)]);
  show('regular expressions', [/a\/b/gi, /(?:)/, Object.assign(/x/, { y: 1 }), new (class R extends RegExp {})('x')]);
  show('boxed', [new Number(-0), new String("it's"), new Boolean(false), Object(1n), Object(Symbol('s')), Object.assign(new String('ab'), { x: 1 }), new (class N extends Number {})(1)]);
  check('promises', () => {
    const rejected = Promise.reject(new RangeError('no').message);
    rejected.catch(() => {});
    return inspect([Promise.resolve(4), rejected, new Promise(() => {}), Promise.resolve({ a: [1] }), Object.assign(Promise.resolve(), { x: 1 })]);
  });
  show('proxies', [new Proxy({ a: 1 }, { get() { throw new Error('trap'); }, ownKeys() { throw new Error('trap'); } }), new Proxy([1, 2], {}), new Proxy(function f() {}, {})]);
  differs('a proxy of a proxy', 'Node asks the traps of the inner one', () => inspect(new Proxy(new Proxy(new Map([[1, 2]]), {}), {})));
  check('a revoked proxy', () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return inspect([proxy]);
  });
  differs('a proxy as prototype', 'Node asks its traps', () => inspect(Object.create(new Proxy({}, { getPrototypeOf() { return null; } }))));
  show('generators', (function* g() {})());
  show('Math, JSON, Reflect, Atomics', [Math, JSON, Reflect].map((x) => inspect(x).split('\n')[0]));
  show('a URL', new URL('https://user:pw@example.com:8080/a/b?x=1&y=2#z'));
  differs('a URL deep', 'Node shows it as if it were empty', () => inspect({ a: { b: { url: new URL('http://h/') } } }));
  show('params', [new URLSearchParams(), new URLSearchParams('a=1&b=it%27s'), new URLSearchParams('a=1').entries(), new URLSearchParams('a=1&b=2').keys()]);
  differs('many params', 'Node puts the last brace behind the last entry', () => inspect(new URLSearchParams(range(8, (i) => [`name${i}`, `value ${i}`]))));

  // ---- Errors ----
  show('an error', traced(new Error('boo'), 'Error: boo'));
  show('an error inside', { e: traced(new TypeError('boo'), 'TypeError: boo'), list: [traced(new Error('a\nb'), 'Error: a\nb')] });
  show('an error with properties', Object.assign(traced(new Error('boo'), 'Error: boo'), { code: 'E_X', info: { a: 1 } }));
  show('an error with a cause', traced(new Error('outer', { cause: traced(new RangeError('inner'), 'RangeError: inner') }), 'Error: outer'));
  show('an error with any cause', traced(new Error('outer', { cause: { a: 1 } }), 'Error: outer'));
  show('an AggregateError', traced(new AggregateError([traced(new Error('a'), 'Error: a'), 2], 'all'), 'AggregateError: all'));
  show('an error of a subclass', (() => {
    class ValidationError extends Error {}
    class Problem extends Error {}
    class Named extends Error { name = 'Named'; }
    return [traced(new ValidationError('v'), 'Error: v'), traced(new Problem('p'), 'Error: p'), traced(new Named('n'), 'Named: n')];
  })());
  show('errors without frames', [new Error('x'), new TypeError('')].map((error) => {
    error.stack = `${error}`;
    return error;
  }));
  show('an error without a stack', Object.defineProperty(new Error('x'), 'stack', { value: undefined }));
  show('an error with a null prototype', Object.setPrototypeOf(traced(new Error('boo'), 'Error: boo'), null));
  show('an error with a tag', Object.defineProperty(traced(new Error('boo'), 'Error: boo'), Symbol.toStringTag, { value: 'T' }));
  show('an error with a name of its own', (() => {
    const error = new Error('boo');
    error.name = 'Mine';
    return traced(error, 'Mine: boo');
  })());
  show('an error that changed its message', (() => {
    const error = traced(new Error('old'), 'Error: old');
    error.message = 'new';
    return error;
  })());
  differs('an error of the engine has its name and message first', 'the frames are those of another engine', () => inspect(new Error('boo')).split('\n')[0]);

  // ---- Custom ----
  const custom = Symbol.for('nodejs.util.inspect.custom');
  show('a custom text', [{ [custom]: () => 'CUSTOM' }, new (class Foo { [custom](depth, options) { return `<Foo ${depth}>`; } })()]);
  show('a custom text of two lines', { a: { [custom]: () => 'one\ntwo' } });
  show('a custom value', { a: { [custom]: () => ({ b: 1 }) } });
  show('a custom that is no function', { [custom]: 5 });

  // ---- Long and hostile ----
  differs('the output is bounded', 'Node has no bound', () => {
    const text = inspect(range(100, (i) => range(100, (j) => 'x'.repeat(50))));
    return `${text.length <= 65536} ${text.slice(-13)}`;
  });
  differs('a wide object is bounded', 'Node has no bound', () => {
    const object = {};
    for (let i = 0; i < 100000; i++) object[`key${i}`] = i;
    const text = inspect({ a: object, b: object });
    return `${text.length <= 65536} ${text.slice(-13)}`;
  });
  differs('a deep object is bounded', 'the depth depends on the stack', () => {
    let object = {};
    for (let i = 0; i < 100000; i++) object = { object };
    return inspect(object, { depth: null }).length <= 65536;
  });
  differs('nothing throws', 'Node throws for some of these', () => {
    const thrower = () => {
      throw new Error('no');
    };
    const hostile = [
      { get [Symbol.toStringTag]() { return thrower(); } }, { [custom]: thrower }, Object.defineProperty({}, 'constructor', { get: thrower }),
      Object.defineProperty(new Error('x'), 'name', { get: thrower }), Object.defineProperty(new Error('x'), 'message', { get: thrower }),
      Object.defineProperty(new Error('x'), 'stack', { get: thrower }), Object.assign(Object.create(null), { toString: thrower }),
      Object.defineProperty(() => 1, 'name', { get: thrower }), Object.setPrototypeOf({}, new Proxy({}, { get: thrower, getOwnPropertyDescriptor: thrower, getPrototypeOf: thrower })),
      new Proxy(class {}, { get: thrower, getPrototypeOf: thrower }), Object.defineProperty(/x/, 'flags', { get: thrower }), Object.defineProperty(/x/, 'source', { get: thrower }),
      { get a() { return thrower(); } }, Object.defineProperty(new Map([[1, 2]]), 'size', { get: thrower }), { toString: thrower, valueOf: thrower, toJSON: thrower },
    ];
    return hostile.map((value) => [inspect(value), format(['%s %d %i %f %j %o %O', value, value, value, value, value, value, value])].every((text) => typeof text === 'string')).join();
  });

  // ---- Lines of the console ----
  const line = (name, ...args) => check(`format: ${name}`, () => format(args));
  line('nothing');
  line('strings', 'a', 'b c', '');
  line('values', 1, 'a', { b: 'c' }, ['d'], null, undefined, -0, 1n, Symbol('s'));
  line('a first object', { a: 1 }, 'x %s', 'y');
  line('strings and objects', 'x:', { a: 'b' }, 'y');
  line('%s', '%s|%s|%s|%s|%s|%s|%s|%s', 'a', 1, -0, 2n, Symbol('s'), null, undefined, true);
  line('%s of objects', '%s|%s|%s|%s|%s', { a: { b: 1 } }, [1, [2]], new Date(0), /x/, Object.create(null));
  line('%s of an object with toString', '%s|%s', { toString: () => 'mine' }, new (class A { toString() { return 'A!'; } })());
  line('%s of a function', '%s', function f() { return 1; });
  line('%s of an error', '%s', traced(new Error('boo'), 'Error: boo'));
  line('%s of a class', '%s|%s', new (class A { x = 1; })(), new URL('http://h/'));
  line('%d', '%d|%d|%d|%d|%d|%d|%d', 1.5, '2', 'x', 3n, Symbol('s'), null, {});
  line('%i', '%i|%i|%i|%i|%i|%i', 1.9, '2.9px', 'x', 3n, Symbol('s'), -0.5);
  line('%f', '%f|%f|%f|%f', 1.5, '2.5px', 'x', Symbol('s'));
  line('%j', '%j|%j|%j|%j', { a: [1] }, 'x', undefined, 1);
  check('format: %j of a circle', () => {
    const object = {};
    object.self = object;
    return format(['%j', object]);
  });
  line('%O', '%O|%O', { a: { b: { c: { d: 1 } } } }, 'x');
  line('%o', '%o', { a: [1, 'x'] });
  line('%o of a deep object', '%o', { a: { b: { c: { d: { e: { f: 1 } } } } } });
  line('%c', '%cred%c plain', 'color: red', '');
  line('%%', '%% %s %%', 1);
  line('%% alone', '100%% sure');
  line('%% with more', '100%% sure', 1);
  line('too few values', '%s %s %d', 'a');
  line('too many values', '%s', 'a', 'b', { c: 1 });
  line('unknown directives', '%x %s %', 'a', 'b');
  line('an ending %', 'a%', 1);
  line('%s at the end', '%', '%s', 'x');
  differs('format: a long line is bounded', 'Node has no bound', () => {
    const text = format(['x'.repeat(100000)]);
    return `${text.length} ${text.slice(-13)}`;
  });
})
