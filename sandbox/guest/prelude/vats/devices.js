// `D(device).method(...args)`: devices answer at once.
(function (_native, runtime) {
  'use strict';
  const { harden, liveslots, slots: table } = runtime;
  const { Error, Proxy, WeakSet } = globalThis;
  const { freeze } = Object;

  const proxies = new WeakSet();

  function forbidPromises(slots) {
    for (let i = 0; i < slots.length; i++) if (slots[i][0] === 'p') throw new Error('D() arguments cannot include a Promise');
  }

  const target = freeze({ __proto__: null });
  class Handler {
    #vref;
    constructor(vref) { this.#vref = vref; }
    get(_target, method) {
      if (typeof method !== 'string' || !method.isWellFormed()) return undefined;
      const vref = this.#vref;
      return harden((...args) => {
        const data = liveslots.write(harden(args), forbidPromises);
        const { body, slots } = liveslots.kernel().callNow(vref, method, data.body, data.slots);
        forbidPromises(slots);
        return liveslots.read(body, slots.join(','));
      });
    }
    has() { return true; }
  }

  function D(node) {
    if (proxies.has(node)) throw new Error('D(D(x)) is invalid');
    const vref = node !== null && typeof node === 'object' ? table.vrefs.get(node) : undefined;
    if (vref === undefined || vref[0] !== 'd') throw new Error('D() must be given a device node');
    const proxy = new Proxy(target, harden(new Handler(vref)));
    proxies.add(proxy);
    return proxy;
  }

  runtime.D = harden(D);
})
