// What the vat and the kernel know together: which object or promise a vref stands for, and what the kernel has to be told
// when an object is no longer needed.
//
// - An object has one vref for as long as the vat can reach it; a vref has one object for as long as that lives.
// - What the kernel may send messages to is held in `exported`; everything else is held weakly, by whoever uses it.
// - Promises are in `imported` while the kernel has to resolve them, in `decided` while the vat has to, and nowhere afterwards.
// - Garbage becomes known to the kernel in `bringOutYourDead` alone, in the order of the vrefs.
//
// Virtual and durable objects (`o+v..`, `o+d..`) are `runtime.virtual`'s, where there is one: see `virtual` below.
(function (native, runtime) {
  'use strict';
  const { host, gc } = native;
  const { WeakRef, FinalizationRegistry } = runtime;
  const { Error, Map, Promise, Set, WeakMap } = globalThis;
  const { stringify } = JSON;

  const OP_GC = 79;
  const MOST_DEAD = 4_000; // that one delivery looks at
  const FIRST_PROMISE = 5;

  const vrefs = new WeakMap(); // object or promise -> vref
  const exported = new Map(); // o+N -> object: the kernel can reach it
  const weakly = new Map(); // o-N, or o+N that the kernel cannot reach -> WeakRef
  const devices = new Map(); // d-N -> object
  const imported = new Map(); // vpid -> Pending of a promise that the kernel resolves
  const decided = new Map(); // vpid -> promise that the vat resolves
  const dropped = new Set(); // o+N that the kernel cannot reach and still knows
  const dead = new Set(); // vrefs whose object has gone since the kernel has been told last

  let nextExport = 1;
  let nextPromise = FIRST_PROMISE;
  let makePresence, makeDevice, importPromise;
  let allocated = []; // vrefs of the serialisation that is going on
  const fresh = new Map(); // p+N -> promise: of messages of which the kernel is about to learn

  // Exports of 2019 count from 1. Today's from 10: below are the kinds of collections.
  function become(makers, is2019) {
    ({ makePresence, makeDevice, importPromise } = makers);
    nextExport = Math.max(nextExport, is2019 ? 1 : 10);
  }

  const registry = new FinalizationRegistry((vref) => {
    const ref = weakly.get(vref);
    // It may have been imported again before the finalizer came to run.
    if (ref === undefined || ref.deref() !== undefined) return;
    weakly.delete(vref);
    dead.add(vref);
  });

  const isVirtual = (vref) => vref[1] === '+' && (vref[2] === 'v' || vref[2] === 'd') && vref[0] === 'o';

  // A name for an object that only stored data mentions so far.
  function nameWeakly(object) {
    const vref = 'o+' + nextExport++;
    bindWeakly(object, vref);
    return vref;
  }

  // Remembers `object` under `vref` without holding it.
  function bindWeakly(object, vref) {
    vrefs.set(object, vref);
    weakly.set(vref, new WeakRef(object));
    registry.register(object, vref);
  }

  function hold(object, vref) {
    vrefs.set(object, vref);
    exported.set(vref, object);
  }

  // The vref of what a message mentions. It is the kernel's with the syscall; if the serialisation fails before,
  // `forgetAllocated` says so.
  function vrefOf(value) {
    const known = vrefs.get(value);
    if (known !== undefined) return known;
    let vref;
    if (value instanceof Promise) {
      vref = 'p+' + nextPromise++;
      vrefs.set(value, vref);
      fresh.set(vref, value);
    } else {
      vref = 'o+' + nextExport++;
      hold(value, vref);
    }
    allocated[allocated.length] = vref;
    return vref;
  }

  function forgetAllocated() {
    for (let i = 0; i < allocated.length; i++) {
      const vref = allocated[i];
      if (vref[0] === 'p') {
        vrefs.delete(fresh.get(vref));
        fresh.delete(vref);
      } else {
        const object = exported.get(vref);
        exported.delete(vref);
        bindWeakly(object, vref);
      }
    }
    allocated = [];
  }

  // The kernel is about to learn of these.
  function retain(slots) {
    if (allocated.length > 0) allocated = [];
    for (let i = 0; i < slots.length; i++) {
      const vref = slots[i];
      if (vref[0] !== 'o' || vref[1] !== '+' || exported.has(vref)) continue;
      if (isVirtual(vref)) {
        runtime.virtual.retain(vref);
        continue;
      }
      exported.set(vref, weakly.get(vref).deref());
      dropped.delete(vref);
    }
  }

  function valueOf(vref, iface) {
    const type = vref[0];
    if (type === 'o') {
      const held = exported.get(vref);
      if (held !== undefined) return held;
      if (isVirtual(vref) && runtime.virtual !== undefined) return runtime.virtual.reanimate(vref, iface);
      const ref = weakly.get(vref);
      const known = ref === undefined ? undefined : ref.deref();
      if (known !== undefined) return known;
      if (vref[1] !== '-') throw new Error(`I don't remember allocating ${stringify(vref)}`);
      const presence = makePresence(vref, iface);
      bindWeakly(presence, vref);
      return presence;
    }
    if (type === 'p') {
      const pending = imported.get(vref);
      if (pending !== undefined) return pending.promise;
      const promise = decided.get(vref);
      return promise === undefined ? importPromise(vref) : promise;
    }
    if (type !== 'd') throw new Error(`unrecognized slot type in ${stringify(vref)}`);
    const known = devices.get(vref);
    if (known !== undefined) return known;
    const node = makeDevice(vref, iface);
    devices.set(vref, node);
    vrefs.set(node, vref);
    return node;
  }

  // ---- garbage ----

  function dropExports(list) {
    for (let i = 0; i < list.length; i++) {
      const vref = list[i];
      if (isVirtual(vref)) {
        runtime.virtual.dropExport(vref);
        continue;
      }
      const object = exported.get(vref);
      // The root stays: whoever gets a new way to the vat finds it.
      if (object === undefined || vref === 'o+0') continue;
      exported.delete(vref);
      bindWeakly(object, vref);
      dropped.add(vref);
    }
  }

  function retireExports(list) {
    for (let i = 0; i < list.length; i++) {
      if (isVirtual(list[i])) runtime.virtual.retireExport(list[i]);
      else dropped.delete(list[i]);
    }
  }

  function retireImports(list) {
    if (runtime.virtual === undefined) return;
    for (let i = 0; i < list.length; i++) runtime.virtual.ceaseRecognition(list[i]);
  }

  // Numbers with as many digits compare as texts, the others by their length.
  const byNumber = (a, b) => a.length - b.length || (a < b ? -1 : 1);

  function tell(what, list) {
    if (list.length === 0) return;
    list.sort(byNumber);
    const refusal = host(OP_GC, what + '\n' + list.join(','));
    if (refusal !== undefined) throw new Error(refusal[1]);
  }

  // Finds what has gone, and tells, of some of it if it is much: the kernel asks again. Virtual objects that go may take others with
  // them.
  async function bringOutYourDead() {
    if (runtime.virtual !== undefined) runtime.virtual.beforeCollection();
    await tellOfTheDead(false);
    return dead.size > 0 ? 'more' : undefined;
  }

  // The heap comes to an end: what no durable data holds has gone. Of the objects that end with it the kernel knows itself.
  async function abandonHeap() {
    for (const vref of weakly.keys()) dead.add(vref);
    weakly.clear();
    await tellOfTheDead(true);
  }

  async function tellOfTheDead(isLast) {
    const dropImports = [];
    const retire = new Set();
    const retired = [];
    let left = isLast ? Infinity : MOST_DEAD;
    while (left > 0) {
      if (!isLast && dead.size < left) gc();
      // Finalizers are jobs, and before this one in the queue.
      await undefined;
      if (dead.size === 0) break;
      const gone = [];
      for (const vref of dead) {
        if (gone.length === left) break;
        gone[gone.length] = vref;
        dead.delete(vref);
      }
      left -= gone.length;
      gone.sort(byNumber);
      for (let i = 0; i < gone.length; i++) {
        const vref = gone[i];
        const { virtual } = runtime;
        if (isLast && vref[1] === '+' && vref[2] !== 'd') continue;
        if (isVirtual(vref)) {
          const { retire: facets } = virtual.collect(vref);
          for (let j = 0; j < facets.length; j++) retired[retired.length] = facets[j];
        } else if (weakly.has(vref)) {
          continue; // imported again
        } else if (vref[1] === '+') {
          if (dropped.delete(vref)) retired[retired.length] = vref;
          if (virtual !== undefined) virtual.ceaseRecognition(vref);
        } else if (virtual === undefined || !virtual.reaches(vref)) {
          dropImports[dropImports.length] = vref;
          retire.add(vref);
        }
      }
    }
    const { virtual } = runtime;
    if (virtual !== undefined) {
      for (const vref of virtual.unrecognized()) {
        if (vref[1] === '-' && !weakly.has(vref) && !virtual.reaches(vref)) retire.add(vref);
      }
      for (const vref of [...retire]) {
        if (virtual.recognizes(vref)) retire.delete(vref);
      }
    }
    tell('dropImports', dropImports);
    tell('retireImports', [...retire]);
    tell('retireExports', retired);
  }

  // ---- for virtual objects ----
  //
  // `runtime.virtual`, if set before a vat starts, is asked:
  //   VatData, WeakMap, WeakSet   what the vat gets under these names
  //   start(vatID, isUpgrade), baggage(), started()   before and after buildRootObject; the third argument of today's is the
  //                           baggage. None of them needs to ask the store for anything before the vat does.
  //   stop()                  the incarnation ends
  //   beforeCollection()      let go of what is held for speed alone
  //   reanimate(vref, iface)  the object or facet of a virtual vref, from memory or from the store
  //   retain(vref)            the kernel can reach it from now on
  //   dropExport(vref), retireExport(vref)   the kernel cannot reach it any more, or does not know it any more
  //   collect(baseRef)        its object has gone (`bindWeakly` under that name, or `died`): if nothing else holds it, it is
  //                           deleted, and `{retire: [vrefs that the kernel knew]}` is the answer
  //   reaches(vref)           an import that data holds; recognizes(vref): one that is the key of a weak collection
  //   unrecognized()          the imports that have ceased to be such a key since the last time
  //   ceaseRecognition(vref)  forget it as a key: it is no more
  // It may use what is below: `vrefOf` as the first function of a marshal for what it stores, with `forgetAllocated` after each
  // time, so that the kernel is not taken to know what only the store mentions; `valueOf` as the second; `bindWeakly` for its
  // objects; `died` for what lost its last hold in the store, so that the next `bringOutYourDead` looks at it;
  // `nextExportNumber` for the ids of kinds. Remotables that data mentions are its own to hold.
  // `alive` is the object that a vref has in the heap, `isKnown` whether it has not been said to have gone; `counters` and
  // `resume` are for the numbers of the next incarnation.
  const died = (vref) => { dead.add(vref); };
  const alive = (vref) => weakly.get(vref)?.deref();
  const isKnown = (vref) => weakly.has(vref);
  const counters = () => [nextExport, nextPromise];
  function resume(exportNumber, promiseNumber) {
    nextExport = Math.max(nextExport, exportNumber);
    nextPromise = Math.max(nextPromise, promiseNumber);
  }
  const nextExportNumber = () => nextExport++;

  runtime.slots = {
    vrefs, imported, decided, fresh, become, hold, bindWeakly, vrefOf, valueOf, retain, forgetAllocated, died, nextExportNumber, isVirtual,
    target: (vref) => exported.get(vref),
    nextPromise: () => 'p+' + nextPromise++,
    dropExports, retireExports, retireImports, bringOutYourDead, abandonHeap, nameWeakly, alive, isKnown, counters, resume,
  };
})
