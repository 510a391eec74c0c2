// Promises that are watched beyond the end of an incarnation: who watches is durable, what is watched has the kernel's name.
//
//   o+d6/2   by the handle of a kind, its watcher        o+d6/3   by the name of a promise, [[watcher, ...args], ...]
(function (native, runtime) {
  'use strict';
  const { slots: table, liveslots, references, kinds, harden } = runtime;
  const { Promise, Set } = globalThis;
  const { E } = runtime;
  const { assert } = runtime;

  const WATCHERS = 'o+d6/2', WATCHED = 'o+d6/3';
  const tableOf = (vref) => references.reanimate(vref);
  const following = new Set(); // names of promises that are followed here

  // Calls who watches, a turn after the table has forgotten it.
  function settle(vpid, isFulfilled, value) {
    following.delete(vpid);
    const watched = tableOf(WATCHED);
    const watches = watched.get(vpid);
    watched.delete(vpid);
    for (const [watcher, ...args] of watches) {
      Promise.resolve().then(() => {
        if (isFulfilled) {
          if (watcher.onFulfilled) watcher.onFulfilled(value, ...args);
        } else if (watcher.onRejected) {
          watcher.onRejected(value, ...args);
        } else {
          throw value;
        }
      });
    }
  }

  function follow(promise, vpid) {
    following.add(vpid);
    E.when(promise, (value) => settle(vpid, true, value), (reason) => settle(vpid, false, reason));
  }

  const isVirtual = (vref) => vref !== undefined && table.isVirtual(vref);

  function watchPromise(promise, watcher, ...args) {
    runtime.virtual.use();
    // One turn later a promise of a message that was just sent has the kernel's name.
    Promise.resolve().then(() => {
      const watcherVref = table.vrefs.get(watcher);
      assert(watcherVref, 'invalid watcher');
      if (!isVirtual(watcherVref)) assert.Fail`promise watcher must be a virtual object`;
      if (watcher.onFulfilled) assert.typeof(watcher.onFulfilled, 'function');
      if (watcher.onRejected) assert.typeof(watcher.onRejected, 'function');
      assert(watcher.onFulfilled || watcher.onRejected, 'promise watcher must implement at least one handler method');
      assert(promise instanceof Promise, 'watchPromise only watches promises');
      const watched = tableOf(WATCHED);
      const known = table.vrefs.get(promise);
      if (known !== undefined && watched.has(known)) {
        watched.set(known, harden([...watched.get(known), [watcher, ...args]]));
        return;
      }
      const vpid = known ?? table.vrefOf(promise);
      watched.init(vpid, harden([[watcher, ...args]]));
      follow(promise, vpid);
      // The kernel learns of it, so that it rejects it should this incarnation end before.
      if (known === undefined) liveslots.exportPromise(vpid);
    });
  }

  function providePromiseWatcher(handle, onFulfilled = () => {}, onRejected = (reason) => { throw reason; }) {
    assert.typeof(onFulfilled, 'function');
    assert.typeof(onRejected, 'function');
    const make = kinds.defineDurableKind(handle, () => harden({}), {
      onFulfilled: (_, value, ...args) => onFulfilled(value, ...args),
      onRejected: (_, reason, ...args) => onRejected(reason, ...args),
    });
    const watchers = tableOf(WATCHERS);
    if (watchers.has(handle)) return watchers.get(handle);
    const watcher = make();
    watchers.init(handle, watcher);
    return watcher;
  }

  // What an earlier incarnation has watched.
  function resume() {
    for (const vpid of tableOf(WATCHED).keys()) {
      if (!following.has(vpid)) follow(liveslots.revivePromise(vpid), vpid);
    }
  }

  runtime.watch = { watchPromise, providePromiseWatcher, resume, WATCHERS, WATCHED };
})
