// `@agoric/vat-data`, and the stores of the heap of `@agoric/store`.
//
// What keeps state asks `runtime.VatData` when it is called.
(function (native, runtime) {
  'use strict';
  const { Map } = globalThis;
  const { assign, fromEntries, isFrozen } = Object;
  const { iterator } = Symbol;
  const { harden } = runtime;
  const { Far, passStyleOf } = runtime.pass;
  const { M, matches, mustMatch, assertScalarKey, isScalarKey, makeCopySet, makeCopyMap, isCopySet, isCopyMap, getCopySetKeys,
    getCopyMapEntries } = runtime.patterns;
  const { Fail, quote: q } = runtime.assert;

  // ---- stores of the heap: as those of VatData, with a map of the engine behind them ----

  const ANY = M.any();

  function heapStore(label, { keyShape, valueShape }, isSet, isWeak) {
    const entries = new Map();
    let additions = 0;
    const mustBeKey = (key) => {
      assertScalarKey(harden(key));
      if (isWeak && passStyleOf(key) !== 'remotable') Fail`Only remotables can be keys of scalar WeakMapStores: ${key}`;
      if (keyShape !== undefined) mustMatch(key, keyShape, `${isSet ? 'setStore' : 'mapStore'} key`);
    };
    const mustHave = (key) => {
      if (!entries.has(key)) Fail`key ${key} not found in collection ${q(label)}`;
    };
    const put = (key, value) => {
      mustBeKey(key);
      harden(value);
      passStyleOf(value);
      if (valueShape !== undefined) mustMatch(value, valueShape, 'mapStore value');
      if (!entries.has(key)) additions++;
      entries.set(key, value);
    };
    function* select(keyPattern = ANY, valuePattern = ANY, pick) {
      const since = additions;
      for (const [key, value] of entries) {
        if (matches(key, keyPattern) && matches(value, valuePattern)) yield pick(key, value);
        if (additions !== since) Fail`keys in store cannot be added to during iteration`;
      }
    }
    const listOf = (given, isCopy, get) => (typeof given[iterator] === 'function' ? given
      : isFrozen(given) && isCopy(given) ? get(given) : Fail`provided data source is not iterable: ${given}`);
    const common = {
      has: (key) => isScalarKey(harden(key)) && entries.has(key),
      delete: (key) => {
        mustHave(key);
        entries.delete(key);
      },
    };
    const strong = {
      keys: (keys, values) => select(keys, values, (key) => key),
      getSize: (keys, values) => (keys === undefined && values === undefined ? entries.size
        : [...select(keys, values, () => 0)].length),
      clear: (keys, values) => { for (const key of [...select(keys, values, (it) => it)]) entries.delete(key); },
    };
    const mapLike = {
      ...common,
      get: (key) => {
        mustHave(key);
        return entries.get(key);
      },
      init: (key, value) => {
        if (entries.has(key)) Fail`key ${key} already registered in collection ${q(label)}`;
        put(key, value);
      },
      set: (key, value) => {
        mustHave(key);
        put(key, value);
      },
      addAll: (given) => { for (const [key, value] of listOf(given, isCopyMap, getCopyMapEntries)) put(key, value); },
    };
    const setLike = {
      ...common,
      add: (key) => { put(key, null); },
      addAll: (given) => { for (const key of listOf(given, isCopySet, getCopySetKeys)) put(key, null); },
    };
    if (isSet) {
      return isWeak ? Far(`scalar WeakSetStore of ${q(label)}`, setLike) : Far(`scalar SetStore of ${q(label)}`, {
        ...setLike, ...strong, values: strong.keys, snapshot: (keys) => makeCopySet(strong.keys(keys)),
      });
    }
    return isWeak ? Far(`scalar WeakMapStore of ${q(label)}`, mapLike) : Far(`scalar MapStore of ${q(label)}`, {
      ...mapLike,
      ...strong,
      values: (keys, values) => select(keys, values, (_, value) => value),
      entries: (keys, values) => select(keys, values, (key, value) => harden([key, value])),
      snapshot: (keys, values) => makeCopyMap([...select(keys, values, (key, value) => [key, value])]),
    });
  }

  const heapStores = {
    makeScalarMapStore: (label = 'key', options = {}) => heapStore(label, options, false, false),
    makeScalarWeakMapStore: (label = 'key', options = {}) => heapStore(label, options, false, true),
    makeScalarSetStore: (label = 'key', options = {}) => heapStore(label, options, true, false),
    makeScalarWeakSetStore: (label = 'key', options = {}) => heapStore(label, options, true, true),
  };

  // ---- what is there again after an upgrade ----

  const provide = (store, key, make) => {
    if (!store.has(key)) store.init(key, make(key));
    return store.get(key);
  };
  const provideStore = (maker) => (baggage, name, options) => provide(baggage, name,
    () => runtime.VatData[maker](name, { durable: true, ...options }));

  const NAMES = ['defineKind', 'defineKindMulti', 'makeKindHandle', 'defineDurableKind', 'defineDurableKindMulti', 'canBeDurable',
    'providePromiseWatcher', 'watchPromise', 'makeScalarBigMapStore', 'makeScalarBigWeakMapStore', 'makeScalarBigSetStore',
    'makeScalarBigWeakSetStore'];
  const ofVatData = fromEntries(NAMES.map((name) => [name, (...args) => runtime.VatData[name](...args)]));
  const { defineKind, defineKindMulti, defineDurableKind, defineDurableKindMulti } = ofVatData;

  const provideKindHandle = (baggage, name) => provide(baggage, `${name}_kindHandle`, () => runtime.VatData.makeKindHandle(name));
  const prepareKind = (baggage, name, init, behavior, options) =>
    defineDurableKind(provideKindHandle(baggage, name), init, behavior, options);
  const prepareKindMulti = (baggage, name, init, behavior, options) =>
    defineDurableKindMulti(provideKindHandle(baggage, name), init, behavior, options);

  const defineVirtualExoClass = (tag, interfaceGuard, init, methods, options) =>
    defineKind(tag, init, methods, { ...options, thisfulMethods: true, interfaceGuard });
  const defineVirtualExoClassKit = (tag, interfaceGuardKit, init, facets, options) =>
    defineKindMulti(tag, init, facets, { ...options, thisfulMethods: true, interfaceGuardKit });
  const defineDurableExoClass = (handle, interfaceGuard, init, methods, options) =>
    defineDurableKind(handle, init, methods, { ...options, thisfulMethods: true, interfaceGuard });
  const defineDurableExoClassKit = (handle, interfaceGuardKit, init, facets, options) =>
    defineDurableKindMulti(handle, init, facets, { ...options, thisfulMethods: true, interfaceGuardKit });
  const prepareExoClass = (baggage, name, guard, init, methods, options) =>
    defineDurableExoClass(provideKindHandle(baggage, name), guard, init, methods, options);
  const prepareExoClassKit = (baggage, name, guards, init, facets, options) =>
    defineDurableExoClassKit(provideKindHandle(baggage, name), guards, init, facets, options);
  const prepareExo = (baggage, name, guard, methods, options) => {
    const make = prepareExoClass(baggage, name, guard, () => harden({}), methods, options);
    return provide(baggage, `${name}_singleton`, () => make());
  };

  runtime.heapStores = harden(heapStores);
  runtime.dataPackage = harden({
    M, ...heapStores, ...ofVatData, provide, provideKindHandle, prepareKind, prepareKindMulti,
    provideDurableMapStore: provideStore('makeScalarBigMapStore'),
    provideDurableWeakMapStore: provideStore('makeScalarBigWeakMapStore'),
    provideDurableSetStore: provideStore('makeScalarBigSetStore'),
    provideDurableWeakSetStore: provideStore('makeScalarBigWeakSetStore'),
    defineVirtualExoClass, defineVirtualExoClassKit, defineDurableExoClass, defineDurableExoClassKit,
    prepareExoClass, prepareExoClassKit, prepareExo,
    prepareSingleton: (baggage, name, methods, options) => prepareExo(baggage, name, undefined, methods, options),
    pickFacet: (make, name) => (...args) => make(...args)[name],
    partialAssign: (target, source) => { assign(target, source); },
    ignoreContext: (method) => (_context, ...args) => method(...args),
  });
})
