// `WeakMap` and `WeakSet` for vats. A key that the kernel or the store may bring back as another object is known by its vref:
// its entry lasts as long as the vref does. All other keys are the engine's.
(function (native, runtime) {
  'use strict';
  const { slots: table, references, harden, FinalizationRegistry } = runtime;
  const { Map, Symbol, WeakMap } = globalThis;
  const { defineProperty } = Object;
  const { vrefs, isVirtual } = table;

  // The vref of a presence or virtual object.
  function nameOf(key) {
    if (key === null || (typeof key !== 'object' && typeof key !== 'function')) return undefined;
    const vref = vrefs.get(key);
    return vref !== undefined && vref[0] === 'o' && (vref[1] === '-' || isVirtual(vref)) ? vref : undefined;
  }

  // When a collection goes, nothing is recognized by it any more.
  const registry = new FinalizationRegistry((byName) => {
    for (const vref of byName.keys()) references.unrecognize(vref, byName);
  });

  const watched = (collection, byName) => {
    registry.register(collection, byName);
    return byName;
  };

  class AwareMap {
    #real = new WeakMap();
    #byName;

    constructor(entries = undefined) {
      if (entries === undefined || entries === null) return;
      for (const [key, value] of entries) this.set(key, value);
    }

    has(key) {
      const vref = nameOf(key);
      return vref === undefined ? this.#real.has(key) : this.#byName !== undefined && this.#byName.has(vref);
    }

    get(key) {
      const vref = nameOf(key);
      return vref === undefined ? this.#real.get(key) : this.#byName === undefined ? undefined : this.#byName.get(vref);
    }

    set(key, value) {
      const vref = nameOf(key);
      if (vref === undefined) {
        this.#real.set(key, value);
        return this;
      }
      this.#byName ??= watched(this, new Map());
      if (!this.#byName.has(vref)) references.recognize(vref, this.#byName);
      this.#byName.set(vref, value);
      return this;
    }

    delete(key) {
      const vref = nameOf(key);
      if (vref === undefined) return this.#real.delete(key);
      if (this.#byName === undefined || !this.#byName.delete(vref)) return false;
      references.unrecognize(vref, this.#byName);
      return true;
    }
  }

  class AwareSet {
    #map = new AwareMap();

    constructor(keys = undefined) {
      if (keys === undefined || keys === null) return;
      for (const key of keys) this.add(key);
    }

    has(key) { return this.#map.has(key); }
    add(key) {
      this.#map.set(key, true);
      return this;
    }
    delete(key) { return this.#map.delete(key); }
  }

  for (const [name, Aware] of [['WeakMap', AwareMap], ['WeakSet', AwareSet]]) {
    defineProperty(Aware, 'name', { value: name });
    defineProperty(Aware.prototype, Symbol.toStringTag, { value: name, configurable: true });
    harden(Aware);
    defineProperty(globalThis, name, { value: Aware, writable: true, enumerable: false, configurable: true });
  }
  runtime.weak = { WeakMap: AwareMap, WeakSet: AwareSet };
})
