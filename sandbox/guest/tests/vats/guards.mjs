// Cases of patterns, guards and exos: a part of cases.mjs.
export default async function more(w, { t, kind, show, far }) {
  const { M, matches, mustMatch, makeExo, defineExoClass, defineExoClassKit, initEmpty, harden, E, Far, print } = w;
  void show;

  // --- Patterns ---

  const specimens = {
    undefined: undefined, null: null, true: true, 5: 5, '-0': -0, NaN: NaN, nat: 5n, negative: -5n, string: 'abc', empty: '', symbol: Symbol.for('s'), array: [1, 2], 'empty array': [],
    'string array': ['a', 'b'], record: { a: 1 }, 'record ab': { a: 1, b: 'x' }, 'record b undefined': { a: 1, b: undefined }, 'empty record': {}, far, promise: Promise.resolve(),
    error: Error('x'), tagged: w.makeTagged('t', 1), set: w.makeCopySet(['a', 'b']), bag: w.makeCopyBag([['a', 2n]]), map: w.makeCopyMap([['k', 1]]), matcher: M.string(),
    'array of far': [far], long: 'x'.repeat(200),
  };
  const patterns = {
    any: M.any(), boolean: M.boolean(), number: M.number(), bigint: M.bigint(), nat: M.nat(), string: M.string(), symbol: M.symbol(), record: M.record(), array: M.array(), set: M.set(), bag: M.bag(),
    map: M.map(), remotable: M.remotable(), 'remotable label': M.remotable('Issuer'), error: M.error(), promise: M.promise(), 'promise label': M.promise('later'), undefined: M.undefined(), null: M.null(),
    scalar: M.scalar(), key: M.key(), pattern: M.pattern(), tagged: M.tagged(), 'tagged t': M.tagged('t', M.number()), 'kind copyArray': M.kind('copyArray'), 'lt 5': M.lt(5), 'lte 5': M.lte(5), 'gte 5': M.gte(5),
    'gt b': M.gt('abb'), 'eq 5': M.eq(5), 'eq undefined': M.eq(undefined), 'neq 5': M.neq(5), or: M.or('abc', 5), 'or none': M.or(), and: M.and(M.number(), M.gte(3)), not: M.not(M.string()), opt: M.opt(M.string()),
    eref: M.eref(M.remotable()), 'arrayOf number': M.arrayOf(M.number()), 'arrayOf limit': M.arrayOf(M.any(), { arrayLengthLimit: 1 }), 'recordOf': M.recordOf(M.string(), M.number()), 'setOf': M.setOf(M.string()),
    'bagOf': M.bagOf(M.number(), M.any()), 'mapOf': M.mapOf(M.string(), M.string()), 'string limit': M.string({ stringLengthLimit: 100 }), 'bigint limit': M.bigint({ decimalDigitsLimit: 0 }),
    splitRecord: M.splitRecord({ a: M.number() }), 'splitRecord optional': M.splitRecord({ a: M.number() }, { b: M.string() }), 'splitRecord rest': M.splitRecord({ a: 1 }, {}, {}), 'splitArray': M.splitArray([M.number()]),
    'splitArray optional': M.splitArray([M.number()], [M.string()]), 'splitArray rest': M.splitArray([], [M.number()], M.arrayOf(M.string())), partial: M.partial({ b: M.number() }), split: M.split({ a: 1 }, M.any()),
    'literal string': 'abc', 'literal array': harden([1, M.number()]), 'literal record': harden({ a: M.number() }), 'literal record key': harden({ a: 1 }), 'literal far': far, 'literal nested': harden({ a: M.number(), b: M.or('x', 'y') }),
  };
  for (const [name, pattern] of Object.entries(patterns)) {
    for (const [what, specimen] of Object.entries(specimens)) {
      let line = '';
      try {
        line = `${matches(harden(specimen), pattern)}`;
        mustMatch(specimen, pattern, 'label');
      } catch (error) {
        line += ` ${error.name}: ${error.message}`;
      }
      print(`match ${name} / ${what} => ${line}`);
    }
  }
  await t('mustMatch no label', () => mustMatch(5, M.string()));
  await t('mustMatch number label', () => mustMatch(5, M.string(), 3));
  await t('mustMatch unpassable', () => mustMatch({}, M.string(), 'label'));
  await t('M.lt of error', () => M.lt(harden(Error('x'))));
  await t('M.kind number', () => M.kind(5));
  await t('M.or of promise', () => M.or(harden(Promise.resolve())));
  await t('M.arrayOf of error', () => M.arrayOf(harden(Error('x'))));
  await t('M.eq of promise', () => M.eq(harden(Promise.resolve())));
  await t('M.splitRecord of array', () => M.splitRecord(harden([])));
  await t('M.any shown', () => M.any());
  await t('isPattern', () => [w.isPattern(M.any()), w.isPattern(5), w.isPattern(harden(Error('x')))]);
  await t('isKey', () => [w.isKey(5), w.isKey(far), w.isKey(harden([1])), w.isKey(M.any())]);
  await t('assertKey promise', () => w.assertKey(harden([Promise.resolve()])));
  await t('assertKey tagged', () => w.assertKey(w.makeTagged('x', 1)));
  await t('makeCopySet', () => [w.makeCopySet([1, 3, 2]), w.getCopySetKeys(w.makeCopySet(['b', 'a']))]);
  await t('makeCopySet twice', () => w.makeCopySet(['a', 'a']));
  await t('makeCopySet mixed', () => w.makeCopySet([undefined, null, 1, 'a', 5n, true, Symbol.for('s'), far]));
  await t('makeCopySet fars', () => w.getCopySetKeys(w.makeCopySet([far, Far('other', {})])).length);
  await t('makeCopySet same far', () => w.makeCopySet([far, far]));
  await t('makeCopyMap', () => [w.makeCopyMap([['a', 1], ['b', 2]]), [...w.getCopyMapEntries(w.makeCopyMap([['a', 1]]))]]);
  await t('makeCopyBag', () => [w.makeCopyBag([['a', 1n], ['b', 3n]]), w.makeCopyBagFromElements(['x', 'y', 'x'])]);
  await t('makeCopyBag zero', () => w.makeCopyBag([['a', 0n]]));
  await t('makeCopyBag number', () => w.makeCopyBag([['a', 1]]));
  const keyPairs = [[1, 2], [2, 1], [1, 1], [NaN, NaN], [NaN, 1], ['a', 'b'], [1, 'a'], [far, far], [far, Far('o', {})], [[1], [1, 2]], [{ a: 1 }, { a: 2 }], [{ a: 1, b: 2 }, { a: 2, b: 1 }], [{ a: 1 }, { b: 1 }],
    [w.makeCopySet([1]), w.makeCopySet([1, 2])], [w.makeCopySet([1]), w.makeCopySet([2])], [w.makeCopyBag([['a', 1n]]), w.makeCopyBag([['a', 2n]])], [undefined, undefined], [true, false], [5n, 4n]];
  for (const [a, b] of keyPairs) await t(`compareKeys ${show(harden(a))} ${show(harden(b))}`, () => [w.compareKeys(a, b), w.keyEQ(a, b), w.keyLT(a, b), w.keyGTE(a, b)]);

  // --- Guards ---

  const CounterI = M.interface('Counter', {
    add: M.call(M.number()).returns(M.number()),
    opt: M.call().optional(M.string(), M.number()).returns(M.any()),
    rest: M.call(M.string()).rest(M.arrayOf(M.number())).returns(M.any()),
    wrong: M.call().returns(M.string()),
    later: M.callWhen(M.await(M.number()), M.string()).returns(M.number()),
    raw: M.call(M.raw(), M.number()).returns(M.raw()),
    nothing: M.call().returns(),
  });
  await t('interface', () => CounterI);
  await t('interface bad', () => M.interface('X', { a: 5 }));
  await t('interface bad name', () => M.interface(5, {}));
  await t('call bad', () => M.call(harden(Promise.resolve())).returns());
  await t('optional twice', () => M.call().optional().optional());
  await t('optional after rest', () => M.call().rest(M.any()).optional());
  await t('await in call', () => M.call(M.await(M.any())).returns());
  await t('raw', () => M.raw());
  await t('payload', () => w.getMethodGuardPayload(M.call(M.string()).returns(M.number())));
  await t('method keys', () => w.getInterfaceMethodKeys(CounterI));

  // --- Exos ---

  const methods = {
    add(x) { return x + 1; }, opt(...args) { return args; }, rest(...args) { return args; }, wrong() { return 5; }, later(x, s) { return x + s.length; }, raw(x) { return x; }, nothing() {},
  };
  const exo = makeExo('counter', CounterI, methods);
  await t('exo String', () => String(exo));
  await t('exo style', () => w.passStyleOf(exo));
  await t('exo keys', () => Reflect.ownKeys(exo));
  await t('exo method names', () => exo.__getMethodNames__());
  await t('exo guard', () => exo.__getInterfaceGuard__() === CounterI);
  await t('exo add', () => exo.add(4));
  await t('exo add string', () => exo.add('4'));
  await t('exo add nothing', () => exo.add());
  await t('exo add two', () => exo.add(1, 2));
  await t('exo add unpassable', () => exo.add(() => {}));
  await t('exo opt', () => [exo.opt(), exo.opt('a'), exo.opt('a', 1), exo.opt(undefined, 2)]);
  await t('exo opt bad', () => exo.opt(5));
  await t('exo opt second bad', () => exo.opt('a', 'b'));
  await t('exo opt three', () => exo.opt('a', 1, 2));
  await t('exo rest', () => exo.rest('a', 1, 2));
  await t('exo rest bad', () => exo.rest('a', 1, 'b'));
  await t('exo wrong result', () => exo.wrong());
  await t('exo later', () => exo.later(Promise.resolve(4), 'ab'));
  await t('exo later bad', () => exo.later(Promise.resolve('4'), 'ab'));
  await t('exo later rejected', () => exo.later(Promise.reject(Error('no')), 'ab'));
  await t('exo later bad second', () => exo.later(1, 2));
  await t('exo raw', () => typeof exo.raw(() => {}, 1));
  await t('exo raw bad', () => exo.raw(() => {}, 'x'));
  await t('exo nothing', () => exo.nothing());
  await t('exo other this', () => exo.add.call({}, 1));
  await kind('exo no this', () => { const { add } = exo; return add(1); });
  await t('exo by E', () => E(exo).add(1));
  await t('exo no method', () => E(exo).nope());
  await t('exo method name', () => [exo.add.name, exo.add.length]);
  await t('exo without guard', () => makeExo('plain', undefined, { f(x) { return [x]; } }).f(1));
  await t('exo without guard, unpassable', () => makeExo('plain', undefined, { f(x) { return x; } }).f(() => {}));
  await t('exo not implemented', () => makeExo('x', M.interface('I', { a: M.call().returns() }), {}));
  await t('exo not guarded', () => makeExo('x', M.interface('I', {}), { a() {} }));
  await t('exo sloppy', () => makeExo('x', M.interface('I', {}, { sloppy: true }), { a(x) { return x; } }).a(1));
  await t('exo default raw', () => typeof makeExo('x', M.interface('I', {}, { defaultGuards: 'raw' }), { a(x) { return x; } }).a(() => {}));
  await t('exo this', () => makeExo('x', undefined, { me() { return [this.self, this.state]; } }).me());
  await t('exo throws', () => makeExo('x', undefined, { boom() { throw TypeError('boom'); } }).boom());
  await t('exo throws far', () => makeExo('x', undefined, { boom() { throw far; } }).boom());
  await t('exo data', () => makeExo('x', undefined, { n: 5 }));

  const makeCounter = defineExoClass('Counter', undefined, (n) => ({ n }), { up() { this.state.n += 1; return this.state.n; }, self() { return this.self; }, more() { this.state.other = 1; } });
  await t('class', () => { const a = makeCounter(5), b = makeCounter(1); a.up(); return [a.up(), b.up(), a.self() === a]; });
  await kind('class state sealed', () => makeCounter(1).more());
  await t('class finish', () => defineExoClass('F', undefined, initEmpty, { a() {} }, { finish: ({ self }) => { print(`finished ${String(self)}`); } })().a());
  await t('class tester', () => { let test; const make = defineExoClass('T', undefined, initEmpty, { a() {} }, { receiveInstanceTester: (f) => { test = f; } }); return [test(make()), test(far)]; });
  const makeKit = defineExoClassKit('Kit', undefined, (n) => ({ n }), { reader: { get() { return this.state.n; } }, writer: { set(n) { this.state.n = n; return this.facets.reader; } } });
  await t('kit', () => { const { reader, writer } = makeKit(3); const same = writer.set(4) === reader; return [reader.get(), same, String(reader)]; });
  await t('kit one facet', () => defineExoClassKit('K', undefined, initEmpty, { a: {} }));
  await t('kit unguarded', () => defineExoClassKit('K', { a: M.interface('A', {}) }, initEmpty, { a: {}, b: {} }));
  await t('kit amplify', () => { let amplify; const make = defineExoClassKit('K', undefined, initEmpty, { a: { x() {} }, b: { x() {} } }, { receiveAmplifier: (f) => { amplify = f; } }); const k = make(); return [amplify(k.a) === k, amplify(k.b).a === k.a]; });
  await t('kit amplify other', () => { let amplify; defineExoClassKit('K', undefined, initEmpty, { a: { x() {} }, b: { x() {} } }, { receiveAmplifier: (f) => { amplify = f; } }); return amplify(far); });
  await t('kit wrong facet', () => { const { reader, writer } = makeKit(3); return reader.get.call(writer); });
}
