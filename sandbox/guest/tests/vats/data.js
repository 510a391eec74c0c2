// What vats keep in their stores: scenarios, each a vat and the deliveries to it, and the kernel that plays them. Of a delivery
// it prints the syscalls and, in the order of their keys, the rows that are others afterwards.
//
// `node data-oracle.mjs DIR` plays the same to Agoric's liveslots. Lines with `>` are only printed here.
'use strict';

const slot = '"$0.Alleged: it"';
const call = (target, method, args = '', slots = '', result = '') => ['message', target, '2', '', `#[${JSON.stringify(method)},[${args}]]`, slots, result];
const root = (method, args, slots, result) => call('o+0', method, args, slots, result);
const boyd = ['bringOutYourDead'];
const SCENARIOS = [];
// An upgrade begins with the source of the next incarnation.
const scenario = (name, source, deliveries) => SCENARIOS.push({ name, source, deliveries });
const vat = (body) => `export const buildRootObject = (vatPowers, vatParameters, baggage) => {
  const { testLog, VatData } = vatPowers;
  const { defineKind, defineKindMulti, makeKindHandle, defineDurableKind, defineDurableKindMulti, canBeDurable, makeScalarBigMapStore,
    makeScalarBigWeakMapStore, makeScalarBigSetStore, makeScalarBigWeakSetStore, providePromiseWatcher, watchPromise } = VatData;
  const log = (...args) => testLog(args.map((x) => (typeof x === 'bigint' ? x + 'n' : Object.is(x, -0) ? '-0' : typeof x === 'symbol' || typeof x === 'object' || typeof x === 'function' ? (Array.isArray(x) ? '[' + x.map(String) + ']' : String(x)) : JSON.stringify(x) ?? 'undefined')).join(' '));
  const attempt = (f) => { try { log(f()); } catch (e) { testLog(e.name + ': ' + e.message); } };
  ${body}
};`;

// ---- kinds ----

scenario('nothing is asked for', vat(`return Far('root', { hello: () => 'hello', keep: (x) => { baggage; } });`),
  [root('hello', '', '', 'p-60'), root('keep', slot, 'o-50'), boyd, ['stopVat', '#"#undefined"', '']]);

scenario('kinds', vat(`
  const makeCounter = defineKind('counter', (n, who) => ({ n, who }), {
    inc({ state }, by = 1) { state.n += by; return state.n; },
    get({ state }) { return state.n; },
    who({ state }) { return state.who; },
    me({ self }) { return self; },
    names({ state }) { return harden(Object.keys(state)); },
    put({ state }, x) { state.who = x; },
    extra({ state }) { state.other = 1; },
    fails() { throw RangeError('no'); },
    bad() { return new Map(); },
  });
  let kept;
  // Kinds keep their functions, and in some engines with them all that is in scope there.
  const badKinds = () => {
    attempt(() => defineKind('x', () => ({}), { a: { f() {} } })); attempt(() => defineKind('x', () => ({}), { a: 1 }));
    attempt(() => defineKindMulti('x', () => ({}), { f() {} })); attempt(() => defineKind('none', () => 7, {})());
    attempt(() => defineKind('x', undefined, {}, { stateShape: 4 })); attempt(() => defineKind('y', undefined, { hi() { return 'hi'; } })().hi());
    attempt(() => defineKind('x', undefined, {}, { receiveAmplifier() {} }));
  };
  return Far('root', {
    make(who) { return makeCounter(3, who); },
    use(c) { log(c.inc(), c.inc(5), c.get(), c.me() === c, c.names()); log(c); },
    twice(a, b) { log(a === b, a.get()); },
    errors(c) {
      attempt(() => { try { c.extra(); } catch (e) { return e.name; } }); attempt(() => c.fails()); attempt(() => c.bad()); attempt(() => c.put(new Map()));
      attempt(() => c.put(Symbol('x'))); attempt(() => { const { get } = c; return get(); }); attempt(() => c.get.apply({}, []));
      attempt(() => c.get.apply(makeCounter, []));
      attempt(() => c.put([1, 2])); attempt(() => c.who()); attempt(() => c.put(undefined)); attempt(() => c.who());
      attempt(() => makeCounter(Symbol('y'))); attempt(() => makeCounter([1]));
      badKinds();
    },
    keep(c) { kept = c; }, give() { return kept; }, drop() { kept = undefined; }, link(a, b) { a.put(b); }, ask(c) { log(c.who()); },
    values(c) { for (const x of [-0, 0, NaN, Infinity, 1.5, 'x', '#x', '+5', '', 7n, -3n, null, true, undefined, Symbol.for('s'), Symbol.iterator, harden([1, ['a']]), harden({ a: 1, b: '!' })]) { c.put(x); log(c.who()); } },
  });`), [
  root('make', '5', '', 'p-60'), root('use', slot, 'o+v10/1'), boyd, root('twice', `${slot},"$0"`, 'o+v10/1'), boyd,
  root('errors', slot, 'o+v10/1'), root('values', slot, 'o+v10/1'), boyd,
  root('make', slot, 'o-50', 'p-61'), boyd, root('link', `${slot},"$1.Alleged: counter"`, 'o+v10/1,o+v10/4'), root('ask', slot, 'o+v10/1'), boyd,
  call('o+v10/1', 'inc', '4', '', 'p-62'), call('o+v10/1', 'me', '', '', 'p-63'), call('o+v10/1', 'put', slot, 'o-51'), call('o+v10/1', 'nope', '', '', 'p-64'),
  ['dropExports', 'o+v10/1'], boyd, ['retireExports', 'o+v10/1'], boyd, ['dropExports', 'o+v10/4'], boyd,
]);

scenario('facets', vat(`
  let amplify, test, kept;
  const makePair = defineKindMulti('pair', (n) => ({ n }), {
    up: { inc({ state }) { state.n++; return state.n; }, other({ facets }) { return facets.down; }, all({ facets }) { return facets; } },
    down: { dec({ state }) { state.n--; return state.n; }, up({ facets }) { return facets.up; } },
  }, { finish({ state, facets }) { state.n *= 2; log(Object.keys(facets)); }, receiveAmplifier: (a) => { amplify = a; }, receiveInstanceTester: (t) => { test = t; } });
  return Far('root', {
    make() { const { up, down } = makePair(5); log(up.inc(), down.dec(), up.other() === down, down.up() === up, String(up)); return up; },
    down(up) { return up.other(); },
    both(up) { return up.all(); },
    amplify(x) { const { up, down } = amplify(x); log(up.other() === down, up === x || down === x, test(x), test(x, 'up'), test(x, 'down'), test({}));
      attempt(() => test(x, 'sideways')); attempt(() => amplify(Far('x', {}))); attempt(() => up.inc.apply(down, [])); },
    keep(x) { kept = x; }, drop() { kept = undefined; },
  });`), [
  root('make', '', '', 'p-60'), boyd, root('down', slot, 'o+v10/1:1', 'p-61'), boyd, root('both', slot, 'o+v10/1:1', 'p-62'), root('amplify', slot, 'o+v10/1:0'),
  ['dropExports', 'o+v10/1:1'], boyd, root('keep', slot, 'o+v10/1:1'), ['dropExports', 'o+v10/1:0'], boyd, ['retireExports', 'o+v10/1:1'], boyd, root('drop'), boyd,
]);

scenario('state shapes', vat(`
  const make = defineKind('shaped', (n, s) => ({ n, s }), { get: ({ state }) => harden([state.n, state.s]), set: ({ state }, x) => { state.n = x; }, own: ({ state }) => harden([Object.keys(state).length, 'n' in state]) },
    { stateShape: { n: M.number(), s: M.string() } });
  const more = () => { const loose = defineKind('loose', () => ({ n: 1, more: 2 }), {}, { stateShape: { n: M.number() } }); attempt(() => loose()); };
  return Far('root', {
    go() {
      const it = make(3, 'x'); log(it.get()); attempt(() => make('x', 'x')); attempt(() => it.set('no')); attempt(() => it.set(7)); log(it.get(), it.own());
      more();
    },
  });`), [root('go'), boyd]);

scenario('stored promises, devices and remotables', vat(`
  const make = defineKind('holder', () => ({ it: undefined }), { put: ({ state }, x) => { state.it = x; }, get: ({ state }) => state.it });
  const holder = make(); const far = Far('far', { hi() { return 'hi'; } }); let done;
  return Far('root', {
    promise() { const p = harden(new Promise((r) => { done = r; })); holder.put(p); log(holder.get() === p); return 5; },
    same() { log(holder.get() === holder.get()); holder.get().then((x) => log(x)); },
    resolve() { done('done'); },
    put(x) { holder.put(x); }, get() { return holder.get(); }, far() { holder.put(far); return far; }, local() { holder.put(Far('local', { ok() { return 'ok'; } })); }, ask() { log(holder.get().ok()); },
  });`), [
  root('promise', '', '', 'p-60'), boyd, root('same'), root('resolve'), root('put', slot, 'd-70'), root('get', '', '', 'p-61'),
  root('far', '', '', 'p-62'), ['dropExports', 'o+11'], boyd, root('put', '1'), boyd, root('local'), boyd, root('ask'), root('put', '1'), boyd, root('put', slot, 'o-50'), boyd, root('get', '', '', 'p-63'), root('put', '2'), boyd,
]);

// ---- collections ----

scenario('maps', vat(`
  const map = makeScalarBigMapStore('stuff');
  const far = Far('far', {});
  const all = ['b', 'a', '', 'é', '\u{10000}', '\uffff', 3, -3, 0, -0, NaN, Infinity, -Infinity, 1e300, 5e-324, -1.5, 3n, -3n, 0n, 100n, -100n, 12345678901234567890n, -12345678901234567890n, true, false, null, undefined, Symbol.for('s'), Symbol.iterator, far];
  return Far('root', {
    fill(x) { for (const key of [...all, x]) if (!map.has(key)) map.init(key, harden({ key: String(key) })); log(map.getSize()); },
    list() { log(map.keys().next().done); for (const [k, v] of map.entries()) log(k, v.key); log([...map.values()].length); },
    some() {
      for (const p of [M.string(), M.number(), M.bigint(), M.gt('a'), M.gte('a'), M.lt(0), M.lte(0), M.gt(-5n), M.lt(4n), M.or(M.number(), M.string()), M.and(M.string(), M.gt('a')), M.not(M.string()), M.scalar(), M.any(), M.kind('boolean'), M.remotable(), M.symbol(), M.boolean(), 'a', 3, 3n, null, undefined, M.undefined()]) log([...map.keys(p)].map((k) => (typeof k === 'bigint' ? k + 'n' : Object.is(k, -0) ? '-0' : String(k))).join());
      log(map.getSize(M.string()), map.getSize(undefined, { key: 'a' }), [...map.keys(M.any(), { key: '3' })].length); log([...map.entries(M.string(), M.any())].length);
      attempt(() => map.keys(new Map()));
    },
    errors(x) {
      attempt(() => map.init('a', 1)); attempt(() => map.get('none')); attempt(() => map.set('none', 1)); attempt(() => map.delete('none')); attempt(() => map.get([1])); attempt(() => map.init({}, 1));
      attempt(() => map.has([1])); attempt(() => map.has(harden([1]))); attempt(() => map.get(Far('other', {}))); attempt(() => map.init('x'.repeat(300), 1)); attempt(() => map.init('m', new Map()));
      attempt(() => map.init(harden([1]), 1)); attempt(() => { for (const k of map.keys()) map.init('new' + String(k), 1); }); attempt(() => makeScalarBigMapStore(5)); attempt(() => map.init('bad', [1]));
      attempt(() => makeScalarBigMapStore('s', { keyShape: M.string(), valueShape: M.number() }).init(5, 5)); attempt(() => makeScalarBigMapStore('s', { keyShape: M.string(), valueShape: M.number() }).init('5', '5'));
      attempt(() => makeScalarBigMapStore('d', { durable: true }).init('f', far)); attempt(() => makeScalarBigMapStore('d', { durable: true }).init(far, 1)); attempt(() => makeScalarBigMapStore('d', { durable: true }).init('p', Promise.resolve()));
      attempt(() => makeScalarBigMapStore('d', { durable: true }).init('m', map)); attempt(() => map.set('a', Symbol('x')));
    },
    change(x) { map.set('a', 5); map.set('a', harden([x, x])); log(map.get('a')[0] === x); map.set('a', harden([x])); map.delete('b'); map.delete(3); map.delete(far); map.delete(x); log(map.has(x), map.has(far), map.getSize()); attempt(() => map.get(x)); },
    shapes() { const m = makeScalarBigMapStore('shaped', { keyShape: M.string(), valueShape: M.or(M.number(), M.string()) }); m.init('a', 1); m.init('b', 'x'); attempt(() => m.set('a', null)); attempt(() => m.get(5)); attempt(() => m.has(5)); log([...m.entries()].join()); },
    many() { const m = makeScalarBigMapStore(); m.addAll([['x', 1], ['y', 2]]); m.addAll([['x', 3]]); const s = m.snapshot(); m.clear(); log(m.getSize()); m.addAll(s); log([...m.entries()].join()); m.clear(M.gt('x')); log([...m.entries()].join()); attempt(() => m.addAll({})); attempt(() => m.addAll(harden({}))); },
    whileDeleting() { for (const k of map.keys(M.string())) map.delete(k); log(map.getSize(), map.getSize(M.string())); },
    clear() { map.clear(); log(map.getSize()); map.init('again', 1); },
    detached() { const { init, get } = map; init('detached', 1); return get('detached'); },
    functions() { const f = Far('f', () => 5); map.init(f, f); log(map.has(f), map.get(f)(), [...map.keys(M.remotable())].length); map.delete(f); log(map.has(f)); },
    give() { return map; },
  });`), [
  root('fill', slot, 'o-50'), boyd, root('list'), root('some'), root('errors', slot, 'o-50'), boyd, root('change', slot, 'o-50'), boyd, root('shapes'), root('many'), boyd, root('whileDeleting'), root('clear'), boyd, root('detached'), root('functions'), boyd,
  root('give', '', '', 'p-60'), call('o+v2/4', 'get', '"again"', '', 'p-61'), call('o+v2/4', 'init', `${slot},1`, 'o-51', 'p-62'), boyd,
]);

scenario('sets', vat(`
  const set = makeScalarBigSetStore('s'); const weak = makeScalarBigWeakSetStore('w');
  return Far('root', {
    go(x) { for (const k of ['b', 'a', 3, 'a', x, 7n]) set.add(k); log([...set.keys()].map(String).join(), [...set.values()].length, set.has('a'), set.has('z'), set.getSize()); set.delete('a'); attempt(() => set.delete('a')); set.add(x); set.addAll(['q', 'r']); log(set.getSize(), set.getSize(M.string())); log([...set.keys(M.string())]); const s = set.snapshot(); set.clear(M.string()); log(set.getSize()); set.addAll(s); log(set.getSize()); },
    weak(x) { weak.add(x); weak.add(x); log(weak.has(x)); log(typeof weak.keys); weak.add('text'); log(weak.has('text')); weak.delete(x); attempt(() => weak.delete(x)); weak.addAll([x]); },
    clear() { set.clear(); },
  });`), [root('go', slot, 'o-50'), root('weak', slot, 'o-51'), boyd, root('clear'), boyd, ['retireImports', 'o-51'], boyd]);

// ---- what holds what ----

scenario('references', vat(`
  const makeNode = defineKind('node', (next) => ({ next }), { set: ({ state }, x) => { state.next = x; }, next: ({ state }) => state.next });
  let map = makeScalarBigMapStore('m'); let kept;
  return Far('root', {
    chain(x) { let n = makeNode(x); for (let i = 0; i < 3; i++) n = makeNode(n); map.init('chain', n); },
    cut() { map.delete('chain'); }, keyed(x) { map.init(x, makeNode(1)); }, unkey(x) { map.delete(x); },
    twice(x) { const n = makeNode(x); map.init('one', harden([n, n, x])); map.init('two', harden({ n, m: makeNode(n) })); }, both() { map.delete('one'); map.delete('two'); },
    swap(x, y) { map.init('swap', x); map.set('swap', y); map.set('swap', harden([y, x])); }, unswap() { map.delete('swap'); },
    nodeKey() { const n = makeNode('key'); kept = n; map.init(n, 'v'); }, nodeGone() { map.delete(kept); kept = undefined; },
    inner(x) { const inner = makeScalarBigMapStore('inner'); inner.init('x', x); inner.init(x, 'x'); inner.init('node', makeNode(x)); map.init('inner', inner); }, uninner() { map.delete('inner'); }, readInner() { log(map.get('inner').get('x'), map.get('inner').getSize()); },
    shaped(x) { map.init('shaped', makeScalarBigMapStore('sh', { valueShape: M.or(x, M.number()) })); }, unshaped() { map.delete('shaped'); },
    dropMap() { map = undefined; },
    cycle() { const a = makeNode(1); const b = makeNode(a); a.set(b); },
  });`), [
  root('chain', slot, 'o-50'), boyd, boyd, root('cut'), boyd, root('keyed', slot, 'o-51'), boyd, root('unkey', slot, 'o-51'), boyd,
  root('twice', slot, 'o-52'), boyd, root('both'), boyd, root('swap', `${slot},"$1.Alleged: it"`, 'o-53,o-54'), boyd, root('unswap'), boyd,
  root('nodeKey'), boyd, root('nodeGone'), boyd, root('inner', slot, 'o-55'), boyd, root('readInner'), boyd, root('uninner'), boyd, root('shaped', slot, 'o-56'), boyd, root('unshaped'), boyd,
  root('cycle'), boyd, root('chain', slot, 'o-57'), root('dropMap'), boyd,
]);

scenario('weak collections', vat(`
  const makeThing = defineKindMulti('thing', () => ({}), { a: { hi() {}, b({ facets }) { return facets.b; } }, b: { ho() {} } });
  const makePlain = defineKind('plain', () => ({}), { hi() {} });
  let map = makeScalarBigWeakMapStore('w'); let kept, cohort; const far = Far('far', {});
  return Far('root', {
    add(x) { map.init(x, harden(['v', x])); }, value(x) { map.init(x, makePlain()); }, get(x) { log(map.has(x) && map.get(x)[0]); }, set(x) { map.set(x, harden(['w'])); }, remove(x) { map.delete(x); },
    virtual() { kept = makePlain(); map.init(kept, makePlain()); cohort = makeThing(); map.init(cohort.a, 1); map.init(cohort.b, makePlain()); }, forget() { kept = undefined; cohort = undefined; },
    remotable() { map.init(far, 'far'); map.init(Far('temp', {}), makePlain()); log(map.get(far)); },
    dropMap() { map = undefined; },
  });`), [
  root('add', slot, 'o-50'), boyd, root('get', slot, 'o-50'), root('set', slot, 'o-50'), boyd, ['retireImports', 'o-50'], boyd,
  root('value', slot, 'o-51'), boyd, ['retireImports', 'o-51'], boyd, root('value', slot, 'o-52'), root('remove', slot, 'o-52'), boyd,
  root('virtual'), boyd, root('forget'), boyd, root('remotable'), boyd, root('value', slot, 'o-53'), boyd, root('dropMap'), boyd,
]);

scenario('WeakMap and WeakSet', vat(`
  const { WeakMap, WeakSet } = vatPowers;
  const make = defineKind('thing', () => ({}), { hi() {} }); let map = new WeakMap(); const set = new WeakSet(); let kept; const far = Far('far', {});
  return Far('root', {
    add(x) { log(map.has(x), map.get(x), map.delete(x)); map.set(x, 'v'); set.add(x); log(map.get(x), set.has(x)); }, get(x) { log(map.get(x), set.has(x)); }, remove(x) { log(map.delete(x), set.delete(x), set.delete(x)); },
    virtual() { kept = make(); map.set(kept, make()); return kept; }, forget() { kept = undefined; }, local() { const o = {}; map.set(o, 1); map.set(far, 2); log(map.get(o), map.get(far), map.has({})); attempt(() => map.get(5)); attempt(() => map.has('x')); },
    dropMap() { map = undefined; }, names() { log(String(map), String(set)); },
  });`), [
  root('add', slot, 'o-50'), boyd, root('get', slot, 'o-50'), boyd, ['retireImports', 'o-50'], root('get', slot, 'o-50'), root('add', slot, 'o-51'), boyd, root('remove', slot, 'o-51'), boyd,
  root('virtual', '', '', 'p-60'), boyd, root('get', slot, 'o+v10/1'), root('forget'), ['dropExports', 'o+v10/1'], boyd, root('local'), root('names'), root('add', slot, 'o-52'), boyd, root('dropMap'), boyd,
]);

// ---- durability ----

const durable = (more) => vat(`
  const provide = (key, make) => { if (!baggage.has(key)) baggage.init(key, make()); return baggage.get(key); };
  const handle = provide('handle', () => makeKindHandle('thing')); const kit = provide('kit', () => makeKindHandle('kit'));
  ${more}`);
const thing = `const make = defineDurableKind(handle, (n) => ({ n }), { get: ({ state }) => state.n, set: ({ state }, x) => { state.n = x; }, version: () => VERSION });
  const makeKit = defineDurableKindMulti(kit, (n) => ({ n }), { b: { get: ({ state }) => state.n, a: ({ facets }) => facets.a }, a: { inc: ({ state }) => ++state.n, b: ({ facets }) => facets.b } });
  let kept; const temp = defineKind('temp', () => ({ x: 1 }), { hi() {} }); const far = Far('far', {});
  return Far('root', {
    make(x) { const it = make(x); baggage.init('it', it); const { a, b } = makeKit(7); baggage.init('a', a); log(a.inc(), b.get(), a.b() === b); return harden([it, a, b]); },
    errors() { attempt(() => make(far)); attempt(() => make(temp())); attempt(() => baggage.get('it').set(harden({ x: [far] }))); attempt(() => make(Promise.resolve())); attempt(() => defineDurableKind(handle, () => ({}), {})); attempt(() => defineDurableKind(far, () => ({}), {})); attempt(() => baggage.init(5, 5));
      attempt(() => baggage.init('far', far)); log(canBeDurable(far), canBeDurable(temp()), canBeDurable(baggage), canBeDurable(make(1)), canBeDurable(harden([1, 'x'])), canBeDurable(Promise.resolve())); },
    use() { const it = baggage.get('it'); log(it.get(), it.version()); const a = baggage.get('a'); log(a.inc(), a.b().get(), a.b().a() === a); log([...baggage.keys()]); return it; },
    stores(x) { const m = makeScalarBigMapStore('dm', { durable: true }); baggage.init('m', m); m.init(x, 'x'); m.init('s', harden([x])); const w = makeScalarBigWeakMapStore('dw', { durable: true }); baggage.init('w', w); w.init(x, 'weakly'); attempt(() => w.init(far, 1)); attempt(() => m.init(far, 1)); attempt(() => m.init('t', makeScalarBigMapStore('v'))); const s = makeScalarBigSetStore('ds', { durable: true }); s.add(x); baggage.init('s', s); },
    readStores(x) { log(baggage.get('m').get(x), baggage.get('w').has(x), baggage.get('s').has(x), baggage.get('m').get('s')[0] === x, baggage.get('m').getSize()); },
    virtual(x, y) { const v = makeScalarBigMapStore('virtual'); v.init('t', temp()); v.init('x', x); v.init(y, make(y)); baggage.init('unrelated', 1); const w = makeScalarBigWeakSetStore('vw'); w.add(x); kept = [v, w, temp(), x, y, new vatPowers.WeakMap([[y, 1]])]; return kept[2]; },
    remove() { for (const k of [...baggage.keys()]) if (k !== 'handle' && k !== 'kit') baggage.delete(k); },
    take() {},
  });`;
scenario('durable kinds', durable(thing.replaceAll('VERSION', '1')), [
  root('make', slot, 'o-50', 'p-60'), root('errors'), boyd, root('use', '', '', 'p-61'), root('stores', slot, 'o-51'), boyd, root('readStores', slot, 'o-51'), root('virtual', `${slot},"$1.Alleged: it"`, 'o-52,o-53', 'p-62'), root('take', slot, 'o-54'),
  ['stopVat', '#"#undefined"', ''], ['upgrade', durable(thing.replaceAll('VERSION', '2'))],
  root('use', '', '', 'p-63'), root('readStores', slot, 'o-51'), boyd, call('o+d10/1', 'version', '', '', 'p-64'), call('o+d11/1:0', 'inc', '', '', 'p-65'), root('remove'), ['dropExports', 'o+d10/1', 'o+d11/1:0', 'o+d11/1:1'], boyd,
]);
scenario('a kind is forgotten', durable(thing.replaceAll('VERSION', '1')), [root('make', '1'), ['upgrade', durable(`return Far('root', {});`)]]);
scenario('a handle without a kind', vat(`makeKindHandle('lonely'); return Far('root', {});`), []);
const facets = (first, then) => scenario(`facets change: ${then}`, durable(`defineDurableKindMulti(handle, () => ({}), ${first}); return Far('root', {});`),
  [['upgrade', durable(then.startsWith('one') ? `defineDurableKind(handle, () => ({}), {}); return Far('root', {});` : `defineDurableKindMulti(handle, () => ({}), ${then}); return Far('root', {});`)]]);
const strip = (scenarios) => { for (const s of scenarios) { s.source = s.source.replace(/ const kit = .*$/m, ''); for (const d of s.deliveries) if (d[0] === 'upgrade') d[1] = d[1].replace(/ const kit = .*$/m, ''); } };
const from = SCENARIOS.length;
facets('{ z: {}, b: {} }', '{ b: {} }'); facets('{ z: {}, b: {} }', '{ b: {}, a: {}, z: {} }'); facets('{ z: {}, b: {} }', 'one');
const shape = (first, then) => scenario(`shape changes: ${first} to ${then}`, durable(`defineDurableKind(handle, () => ({ n: 1 }), {}, { stateShape: ${first} })(); return Far('root', {});`),
  [['upgrade', durable(`defineDurableKind(handle, () => ({ n: 1 }), {}, { stateShape: ${then} }); return Far('root', {});`)]]);
shape('{ n: M.number() }', '{ n: M.number() }'); shape('{ n: M.number() }', '{ n: M.string() }'); shape('{ n: M.number() }', '{ n: M.number(), m: M.opt(M.string()) }'); shape('{ n: M.number() }', '{ n: M.number(), m: M.string() }'); shape('{ n: M.number() }', 'undefined'); shape('undefined', '{ n: M.number() }');
strip(SCENARIOS.slice(from));

// ---- watched promises ----

const watching = (version) => vat(`
  const provide = (key, make) => { if (!baggage.has(key)) baggage.init(key, make()); return baggage.get(key); };
  const watcher = providePromiseWatcher(provide('handle', () => makeKindHandle('watcher')), (value, ...args) => log(${version}, 'fulfilled', value, ...args), (reason, ...args) => log(${version}, 'rejected', reason, ...args));
  const make = defineDurableKind(provide('mine', () => makeKindHandle('mine')), () => ({ seen: 0 }), { onFulfilled: ({ state }, value) => { state.seen += 1; log('mine', value, state.seen); }, onRejected: (_, reason) => { log('mine rejected', reason); } });
  const mine = provide('it', make); let done;
  return Far('root', {
    send(x) { watchPromise(E(x).hello(), watcher, 'extra', x); }, watch(p) { watchPromise(p, watcher, 1); watchPromise(p, mine); }, local() { watchPromise(new Promise((resolve) => { done = resolve; }), mine); }, resolve() { done('local'); },
    settled() { watchPromise(Promise.resolve(5), watcher); watchPromise(Promise.reject('no'), mine); },
    bad() { watchPromise(Promise.resolve(1), Far('no', {})); }, keys() { log('here'); },
  });`);
scenario('watched promises', watching(1), [
  root('send', slot, 'o-50'), ['notify', 'p+5', '0', '#"hi"', ''], root('send', slot, 'o-50'), ['notify', 'p+6', '1', '#"bye"', ''], root('watch', '"&0"', 'p-60'), ['notify', 'p-60', '0', '#5', ''], root('settled'), root('local'), root('resolve'),
  root('send', slot, 'o-51'), root('watch', '"&0"', 'p-61'), root('local'), boyd, ['stopVat', '#"#undefined"', ''], ['upgrade', watching(2)],
  ['notify', 'p-61', '0', '#"after"', ''], ['notify', 'p+9', '1', '#"upgraded"', ''], ['notify', 'p+10', '1', '#{"name":"vatUpgraded"}', ''], root('send', slot, 'o-50'), boyd,
]);

// ---- exos ----

scenario('exo classes', vat(`
  const { prepareExo, prepareExoClass, prepareExoClassKit, defineVirtualExoClass, provideDurableMapStore, provide } = vatData;
  const I = M.interface('Counter', { inc: M.call(M.number()).returns(M.number()), me: M.call().returns(M.remotable()), later: M.callWhen(M.await(M.number())).returns(M.string()) });
  const makeCounter = prepareExoClass(baggage, 'Counter', I, (n) => ({ n }), { inc(by) { this.state.n += by; return this.state.n; }, me() { return this.self; }, later(x) { return 'x' + x; } });
  const single = prepareExo(baggage, 'single', undefined, { hello(x) { return harden(['hello', x]); } });
  const makeKit = prepareExoClassKit(baggage, 'Kit', { a: M.interface('A', { put: M.call(M.string()).returns() }), b: M.interface('B', { get: M.call().returns(M.string()) }) }, () => ({ s: '' }), { a: { put(s) { this.state.s = s; } }, b: { get() { return this.state.s; } } });
  const makeLoose = defineVirtualExoClass('Loose', undefined, () => ({ x: 1 }), { get() { return this.state.x; }, put(x) { this.state.x = x; } });
  const store = provideDurableMapStore(baggage, 'store');
  return Far('root', {
    go() { const c = makeCounter(1); log(c.inc(2), c.me() === c); attempt(() => c.inc('x')); attempt(() => c.inc()); attempt(() => c.inc(1, 2)); c.later(Promise.resolve(4)).then((x) => log(x)); log(single.hello(3)); const { a, b } = makeKit(); a.put('yes'); log(b.get()); attempt(() => a.put(5)); attempt(() => a.put.apply(b, ['x'])); const l = makeLoose(); l.put(harden([1])); log(l.get()); store.init('c', c); log([...baggage.keys()]); return c; },
  });`), [root('go', '', '', 'p-60'), boyd, call('o+d10/1', 'inc', '5', '', 'p-61'), call('o+d10/1', 'inc', '"x"', '', 'p-62')]);

// ---- the kernel ----

const INITIAL = { 'vc.1.|entryCount': '0', 'vc.2.|entryCount': '0', 'vc.3.|entryCount': '0', 'vc.1.|nextOrdinal': '1', 'vc.2.|nextOrdinal': '1', 'vc.3.|nextOrdinal': '1', 'vom.rc.o+d6/1': '1', 'vom.rc.o+d6/2': '1', 'vom.rc.o+d6/3': '1' };
const HIDDEN = ['idCounters', 'kindIDID', 'storeKindIDTable', 'baggageID', 'watcherTableID', 'watchedPromiseTableID', 'vc.1.|schemata', 'vc.2.|schemata', 'vc.3.|schemata'];
const OPS = { 70: 'send', 71: 'resolve', 72: 'subscribe', 73: 'callNow', 74: 'exit', 79: 'gc', 80: 'log', 1: 'console' };
const show = (text) => text.replaceAll('\n', ' | ').replaceAll('\0', '\\0');

// What a vat's store is, and how it has changed.
function makeStore() {
  const rows = new Map();
  let before = new Map();
  let sorted;
  return {
    rows,
    get: (key) => rows.get(key),
    set: (key, value) => { rows.set(key, value); sorted = undefined; },
    delete: (key) => { rows.delete(key); sorted = undefined; },
    next: (prior) => {
      // By code points, as bytes are.
      const points = (text) => [...text].map((c) => c.codePointAt(0).toString(16).padStart(6, '0')).join();
      sorted ??= [...rows.keys()].map((key) => [points(key), key]).sort(([a], [b]) => (a < b ? -1 : 1));
      const from = points(prior);
      return sorted.find(([text]) => text > from)?.[1];
    },
    changes() {
      const lines = [];
      for (const key of [...new Set([...before.keys(), ...rows.keys()])].sort()) {
        const was = before.get(key) ?? INITIAL[key], is = rows.get(key) ?? INITIAL[key];
        if (was !== is && !HIDDEN.includes(key)) lines.push(`    ${show(key)} ${is === undefined ? 'gone' : '= ' + is.replace(',"virtual":true}', '}')}`);
      }
      before = new Map(rows);
      return lines;
    },
    counters: () => rows.get('idCounters'),
  };
}

if (typeof native === 'undefined') {
  globalThis.DATA = { SCENARIOS, makeStore, show };
} else {
  let modules = 0;
  for (const { name, source, deliveries } of SCENARIOS) {
    native.print(`\n== ${name}`);
    const store = makeStore();
    let asked = 0;
    let entry, now;
    const deliver = (kind, ...fields) => {
      const short = fields.map(show).join(' ; ');
      native.print(`  ${kind}(${kind === 'startVat' ? '' : short})`);
      asked = 0;
      now = kind;
      let outcome = 'pending: never settles';
      try {
        const value = entry.deliver(kind, fields);
        if (value !== undefined && typeof value.then === 'function') value.then((it) => { outcome = it; }, (error) => { outcome = entry.describe(error).slice(0, 2).join(': '); });
        else outcome = value;
      } catch (error) {
        outcome = entry.describe(error).slice(0, 2).join(': ');
      }
      native.runJobs();
      for (const line of store.changes()) native.print(kind === 'stopVat' ? `  > ${line}` : line);
      if (outcome !== undefined && !outcome.startsWith('{')) native.print(`  = ${outcome}`);
      if (deliveries[0]?.[1] === root('hello')[1] && name === 'nothing is asked for') native.print(`  > questions: ${asked}`);
      if (kind === 'stopVat') native.print(`  > ${store.counters()}`);
    };
    const start = (text, upgrade) => {
      const module = `/vat-${++modules}.js`;
      native.source(module, text);
      entry = native.boot((op, text, data) => {
        if (op >= 75 && op <= 78) asked++;
        switch (op) {
          case 75: return store.get(text);
          case 76: return store.set(text, data);
          case 77: return store.delete(text);
          case 78: return store.next(text);
          default: native.print(`${now === 'stopVat' ? '  > ' : ''}    ${OPS[op] ?? op}(${show(text)})`);
        }
      });
      deliver('startVat', JSON.stringify({ name: 'bob', vatID: 'v1', module, upgrade }), '#"#undefined"', '');
    };
    start(source, false);
    for (const [kind, ...fields] of deliveries) {
      if (kind === 'upgrade') start(fields[0], true);
      else deliver(kind, ...fields);
    }
  }
}
