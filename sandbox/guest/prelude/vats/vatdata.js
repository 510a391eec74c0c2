// `VatData`: what a vat may keep outside of its heap, and beyond its incarnation. The parts are in vatstore, references, keys,
// kinds, collections, weak and watch; here is what `slots.js` asks, and the beginning and end of an incarnation.
//
// - Nothing is read or written before the vat asks for something: `use` is called by all that does. Only an upgrade begins with
//   a look at the store.
// - `idCounters` is what a later incarnation begins with. It is written when a kind or collection is made, and at the end.
(function (native, runtime) {
  'use strict';
  const { slots: table, vatstore: store, references, kinds, collections, watch, weak, harden } = runtime;
  const { defineProperty, keys } = Object;
  const { parse, stringify } = JSON;

  const BAGGAGE = 'o+d6/1';
  const FIRST_COLLECTION = 4; // after the baggage and the tables of `watch`

  let nextCollection = FIRST_COLLECTION;
  let isUpgraded = false;

  const counters = {
    text() {
      const [exportID, promiseID] = table.counters();
      return stringify({ exportID, collectionID: references.inUse ? nextCollection : 1, promiseID });
    },
  };

  // The vat asks for the first time: its store gets what each store has.
  function use() {
    if (references.inUse) return;
    references.inUse = true;
    store.set('kindIDID', '1');
    store.set('storeKindIDTable', collections.tableText);
    for (const [key, vref, label, shape] of [
      ['baggageID', BAGGAGE, 'baggage', collections.STRING],
      ['watcherTableID', watch.WATCHERS, 'promiseWatcherByKind', collections.SCALAR],
      ['watchedPromiseTableID', watch.WATCHED, 'watchedPromises', collections.WATCHED_SHAPE],
    ]) {
      collections.foundMap(vref.slice(vref.indexOf('/') + 1), label, shape);
      store.set(key, vref);
      references.reach(vref);
    }
    store.change('idCounters', counters);
  }

  // ---- an incarnation ----

  function start(vatID, upgrade) {
    references.become(vatID);
    if (!upgrade) return;
    isUpgraded = true;
    const saved = store.get('idCounters');
    if (saved === undefined) return;
    const { exportID, collectionID, promiseID } = parse(saved);
    table.resume(exportID, promiseID);
    if (store.get('kindIDID') === undefined) return;
    references.inUse = true;
    nextCollection = collectionID;
    kinds.oweAll();
  }

  function started() {
    if (isUpgraded && references.inUse) watch.resume();
    kinds.insistAllDefined();
  }

  // The last delivery: what is not durable goes, and so do imports that nothing durable mentions.
  async function stop() {
    kinds.forgetStates();
    if (references.inUse) {
      removeVirtualState();
      collections.removeVirtual();
      for (const prefix of ['vom.rc.o+v', 'vom.es.o+v', 'vom.vkind.']) removeUnder(prefix);
    }
    for (const vref of references.recognizers.keys()) references.lost.add(vref);
    references.recognizers.clear();
    store.set('idCounters', counters.text());
    await table.abandonHeap();
    store.flush();
  }

  function removeUnder(prefix) {
    for (let key = store.nextUnder(prefix); key !== undefined; key = store.nextUnder(prefix, key)) store.remove(key);
  }

  function removeVirtualState() {
    const prefix = 'vom.o+v';
    for (let key = store.nextUnder(prefix); key !== undefined; key = store.nextUnder(prefix, key)) {
      const data = parse(store.get(key));
      for (const name of keys(data)) references.leaveAll(data[name].slots);
      store.remove(key);
    }
  }

  // ---- for all others ----

  const { defineKind, defineKindMulti, defineDurableKind, defineDurableKindMulti, makeKindHandle, canBeDurable } = kinds;
  const { makeScalarBigMapStore, makeScalarBigWeakMapStore, makeScalarBigSetStore, makeScalarBigWeakSetStore } = collections;
  const { providePromiseWatcher, watchPromise } = watch;
  const VatData = harden({ defineKind, defineKindMulti, defineDurableKind, defineDurableKindMulti, makeKindHandle, canBeDurable,
    providePromiseWatcher, watchPromise, makeScalarBigMapStore, makeScalarBigWeakMapStore, makeScalarBigSetStore,
    makeScalarBigWeakSetStore });

  runtime.VatData = VatData;
  defineProperty(globalThis, 'VatData', { value: VatData, writable: true, enumerable: false, configurable: true });

  const { reanimate, retain, dropExport, retireExport, collect, reaches, recognizes, unrecognized, ceaseRecognition } = references;
  runtime.virtual = {
    VatData, WeakMap: weak.WeakMap, WeakSet: weak.WeakSet,
    use, start, started, stop,
    baggage: () => reanimate(BAGGAGE),
    nextCollection() {
      store.change('idCounters', counters);
      return nextCollection++;
    },
    reanimate, retain, dropExport, retireExport, collect, reaches, recognizes, unrecognized, ceaseRecognition,
    beforeCollection: kinds.forgetStates,
  };
})
