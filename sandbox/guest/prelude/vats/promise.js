// Eventual sends: `HandledPromise` and `E`.
//
// A send names a target, which may be a promise, and is done in a later turn: on the value of the target if that is known
// by then, else by the handler of the promise (it may pass the send on at once: that is pipelining), else when the promise
// is settled. Sends to one target are done in the order in which they were sent.
//
// - `Pending` is the state of a handled promise, kept apart from it so that the promise itself stays frozen and bare.
//   It lets go of its promise once that is settled, so that no cycle is left behind.
// - A presence is an object with a handler of its own; all other objects are local.
// - No code of a vat runs inside a send: targets and arguments are only frozen there.
//
// For liveslots:
//   registerPresence(object, handler)      sends to the object go to the handler
//   makeHandledPromise(handler)            {promise, resolve, reject, pending}; sends go to the handler while it is pending
//   newPending(handler)                    the same without closures: {promise}, settled by the next two
//   resolvePending(pending, value), rejectPending(pending, reason)
//   adopt(result, handler)                 within a handler's call: its result is settled later, by the two above
//   applyMethod(target, name, args)        a send whose `args` is a fresh array that nobody else has
//   sendOnly(target, name, args)           the same without a result
// Such a handler has applyMethod(target, name, args, result), applyFunction(target, args, result), get(target, name,
// result), and optionally the same with SendOnly. `result` is a Pending: the handler either returns the value or a promise of it,
// or calls adopt(result, handler) and keeps `result`. `args` is an array that is not frozen, of hardened values.
(function (native, runtime) {
  'use strict';
  const { WeakMap, TypeError, Promise, Set } = globalThis;
  const { defineProperty, getOwnPropertyDescriptor, getPrototypeOf, setPrototypeOf, freeze, preventExtensions, isFrozen, create } = Object;
  const { apply, ownKeys, construct } = Reflect;
  const { harden, hardened, queueMicrotask } = runtime;
  const { Fail, quote: q, details: X, makeError, fail } = runtime.assert;
  const StringOf = String;
  const ObjectPrototype = Object.prototype;
  const promiseThen = Function.prototype.call.bind(Promise.prototype.then);

  const records = new WeakMap(); // promise -> Pending
  const presences = new WeakMap(); // object -> Presence

  const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

  // --- States ---

  const WAITS = 0; // settled by nobody yet: `handler`, or else `queue`
  const FORWARDED = 1; // `next` is another handled promise
  const VALUE = 2; // `next` is the value
  const FOLLOWS = 3; // follows a promise without a handler
  const REJECTED = 4; // `next` is the reason

  let justResolve;
  let justReject;
  const capture = (resolve, reject) => { justResolve = resolve; justReject = reject; };

  // Few fields of its own; the others are the prototype's until they are needed.
  function Pending(promise, handler) {
    this.promise = promise;
    this.settle = justResolve;
    this.refuse = justReject;
    // They would hold the promise, and what it comes to.
    justResolve = justReject = undefined;
    this.handler = handler;
  }
  Pending.prototype = { __proto__: null, state: WAITS, next: undefined, internal: true, adopted: false, queue: undefined };

  function newPending(handler) {
    const promise = new Promise(capture);
    const pending = new Pending(promise, handler);
    preventExtensions(promise);
    hardened.set(promise, 0);
    records.set(promise, pending);
    return pending;
  }

  function Presence(handler, internal, promise) {
    this.handler = handler;
    this.internal = internal;
    this.promise = promise;
  }

  function registerPresence(object, handler) { presences.set(object, new Presence(handler, true, undefined)); }

  // --- Sends ---

  const GET = 0;
  const APPLY_FUNCTION = 1;
  const APPLY_METHOD = 2;
  const SET = 3;
  const DELETE = 4;
  const NAMES = ['get', 'applyFunction', 'applyMethod', 'set', 'delete'];

  // A send is five values: `op`, `target`, `name`, `args` (or the one value of SET), and the Pending of its result, which is
  // undefined if nobody wants one. One turn for each, in order: this queue saves a closure for each of them.
  const waiting = [];
  let first = 0;
  // The same for what has waited for a promise, and can go on. It is done first: what was sent later may be in `waiting` already.
  const released = [];
  let firstReleased = 0;
  function release(queue) {
    for (let i = 0; i < queue.length; i += 5) {
      released.push(queue[i], queue[i + 1], queue[i + 2], queue[i + 3], queue[i + 4]);
      queueMicrotask(turn);
    }
  }
  function turn() {
    if (released.length > 0) {
      const i = firstReleased;
      const op = released[i], target = released[i + 1], name = released[i + 2], args = released[i + 3], result = released[i + 4];
      firstReleased += 5;
      if (firstReleased === released.length) {
        released.length = 0;
        firstReleased = 0;
      } else {
        released[i + 1] = released[i + 3] = released[i + 4] = undefined;
      }
      dispatch(op, target, name, args, result);
      return;
    }
    const i = first;
    const op = waiting[i], target = waiting[i + 1], name = waiting[i + 2], args = waiting[i + 3], result = waiting[i + 4];
    first += 5;
    if (first === waiting.length) {
      waiting.length = 0;
      first = 0;
    } else {
      waiting[i + 1] = waiting[i + 3] = waiting[i + 4] = undefined;
    }
    dispatch(op, target, name, args, result);
  }
  function enqueue(op, target, name, args, result) {
    waiting.push(op, target, name, args, result);
    queueMicrotask(turn);
  }

  function start(op, target, name, args, result) {
    if (isObject(target) && !records.has(target) && !presences.has(target)) {
      let then;
      try {
        if (op < SET) harden(target);
        ({ then } = target);
      } catch (error) {
        refuse(result, error);
        return;
      }
      if (typeof then === 'function') {
        sendTo(resolve(target), op, name, args, result);
        return;
      }
    }
    enqueue(op, target, name, args, result);
  }

  // To a promise without a handler: when it is fulfilled.
  function sendTo(promise, op, name, args, result) {
    promiseThen(promise, (value) => deliver(op, value, name, args, result), (reason) => refuse(result, reason));
  }

  function refuse(result, reason) {
    if (result !== undefined) rejectPending(result, reason);
  }

  // Where a send goes now.
  function dispatch(op, to, name, args, result) {
    let target = to;
    let pending = isObject(target) ? records.get(target) : undefined;
    while (pending !== undefined) {
      switch (pending.state) {
        case WAITS:
          if (pending.handler === undefined) {
            if (pending.queue === undefined) pending.queue = [];
            pending.queue.push(op, target, name, args, result);
          } else if (pending.internal) {
            callInternal(pending.handler, op, target, name, args, result);
          } else {
            callHandler('pendingHandler', pending.handler, op, target, name, args, result);
          }
          return;
        case FORWARDED:
          target = pending.next;
          pending = records.get(target);
          break;
        case VALUE:
          deliver(op, pending.next, name, args, result);
          return;
        case REJECTED:
          refuse(result, pending.next);
          return;
        default:
          sendTo(target, op, name, args, result);
          return;
      }
    }
    deliver(op, target, name, args, result);
  }

  // The target is known and is no promise.
  function deliver(op, target, name, args, result) {
    const presence = isObject(target) ? presences.get(target) : undefined;
    if (presence === undefined) callLocal(op, target, name, args, result);
    else if (presence.internal) callInternal(presence.handler, op, target, name, args, result);
    else callHandler('presenceHandler', presence.handler, op, target, name, args, result);
  }

  function callInternal(handler, op, target, name, args, result) {
    let value;
    try {
      switch (op) {
        case APPLY_METHOD:
          value = result === undefined && handler.applyMethodSendOnly !== undefined
            ? handler.applyMethodSendOnly(target, name, args)
            : handler.applyMethod(target, name, args, result);
          break;
        case APPLY_FUNCTION:
          value = result === undefined && handler.applyFunctionSendOnly !== undefined
            ? handler.applyFunctionSendOnly(target, args)
            : handler.applyFunction(target, args, result);
          break;
        case GET:
          value = handler.get === undefined ? target[name] : handler.get(target, name, result);
          break;
        default:
          throw new TypeError(`cannot ${NAMES[op]} a property of a remote object`);
      }
    } catch (error) {
      refuse(result, error);
      return;
    }
    if (result === undefined) return;
    if (!result.adopted) {
      resolvePending(result, harden(value));
    } else if (result.queue !== undefined) {
      // What was sent to it before it had a handler.
      release(result.queue);
      result.queue = undefined;
    }
  }

  // --- Local targets ---

  const kindOf = (value) => (value === null ? 'null' : typeof value);

  const before = (a, b) => {
    if (typeof a !== typeof b) return typeof a === 'symbol' ? -1 : 1;
    const left = StringOf(a);
    const right = StringOf(b);
    return left < right ? -1 : left > right ? 1 : 0;
  };

  // The names of all methods, own and inherited, except those of every object.
  function getMethodNames(value) {
    const names = new Set();
    for (let layer = value; layer !== null && layer !== ObjectPrototype; layer = getPrototypeOf(layer)) {
      for (const name of ownKeys(Object(layer))) {
        if (typeof value[name] === 'function') names.add(name);
      }
      if (!isObject(value)) break;
    }
    return harden([...names].sort(before));
  }

  function invoke(target, args) {
    if (typeof target !== 'function') fail(X`Cannot invoke target as a function; typeof target is ${q(kindOf(target))}`, TypeError);
    return apply(target, undefined, args);
  }

  function invokeMethod(target, name, args) {
    if (name === undefined || name === null) return invoke(target, args);
    if (target === undefined || target === null) {
      fail(X`Cannot deliver ${q(name)} to target; typeof target is ${q(kindOf(target))}`, TypeError);
    }
    const method = target[name];
    if (typeof method !== 'function') {
      if (method === undefined) fail(X`target has no method ${q(name)}, has ${q(getMethodNames(target))}`, TypeError);
      Fail`invoked method ${q(name)} is not a function; it is a ${q(kindOf(method))}`;
    }
    return apply(method, target, args);
  }

  function callLocal(op, target, name, args, result) {
    let value;
    try {
      switch (op) {
        case APPLY_METHOD: value = invokeMethod(target, name, args); break;
        case APPLY_FUNCTION: value = invoke(target, args); break;
        case GET: value = target[name]; break;
        case SET: value = target[name] = args; break;
        default: value = delete target[name];
      }
      if (result !== undefined) resolvePending(result, harden(value));
    } catch (error) {
      refuse(result, error);
    }
  }

  // --- Handlers of a vat's own ---

  const known = (handler, name) => typeof handler[name] === 'function';

  // The handler's methods get the send's arguments as they were given to HandledPromise, and the promise of the result.
  function viaHandler(title, handler, op, target, name, args, result) {
    if (op === APPLY_FUNCTION || op === APPLY_METHOD) harden(args);
    const promise = result === undefined ? undefined : result.promise;
    const given = op === GET || op === DELETE ? [name] : op === APPLY_FUNCTION ? [args] : [name, args];
    if (result === undefined && known(handler, `${NAMES[op]}SendOnly`)) {
      return apply(handler[`${NAMES[op]}SendOnly`], handler, [target, ...given, undefined]);
    }
    if (known(handler, NAMES[op])) return apply(handler[NAMES[op]], handler, [target, ...given, promise]);
    if (op === APPLY_METHOD) return HandledPromise.applyFunction(HandledPromise.get(target, name), args);
    if (op === APPLY_FUNCTION && known(handler, 'applyMethod')) {
      return apply(handler.applyMethod, handler, [target, undefined, given, promise]);
    }
    const full = result === undefined ? `${NAMES[op]}SendOnly` : NAMES[op];
    return fail(X`${q(title)} is defined but has no methods needed for ${q(full)} (has ${q(getMethodNames(handler))})`, TypeError);
  }

  function callHandler(title, handler, op, target, name, args, result) {
    try {
      const value = viaHandler(title, handler, op, target, name, args, result);
      if (result !== undefined) resolvePending(result, harden(value));
    } catch (error) {
      refuse(result, error);
    }
  }

  // The traps of 2019 under today's names.
  function modern(handler) {
    if (!known(handler, 'POST') && !known(handler, 'GET')) return handler;
    const traps = {};
    if (known(handler, 'GET')) traps.get = (target, name) => handler.GET(target, name);
    if (known(handler, 'PUT')) traps.set = (target, name, value) => handler.PUT(target, name, value);
    if (known(handler, 'DELETE')) traps.delete = (target, name) => handler.DELETE(target, name);
    if (known(handler, 'POST')) {
      traps.applyMethod = (target, name, args) => handler.POST(target, name, args);
      traps.applyFunction = (target, args) => handler.POST(target, undefined, args);
    }
    return traps;
  }

  // --- Settling ---

  function settled(pending, state, next) {
    const { queue } = pending;
    pending.state = state;
    pending.next = next;
    pending.handler = pending.promise = pending.settle = pending.refuse = pending.queue = undefined;
    if (queue === undefined) return;
    release(queue);
  }

  function resolvePending(pending, value) {
    if (pending.state !== WAITS) return;
    const { settle } = pending;
    let state = VALUE;
    if (isObject(value) && !presences.has(value)) {
      let record = records.get(value);
      while (record !== undefined && record.state === FORWARDED) {
        value = record.next;
        record = records.get(value);
      }
      if (record !== undefined) {
        if (record === pending || record.state === FOLLOWS) {
          state = FOLLOWS;
        } else if (record.state === WAITS) {
          state = FORWARDED;
        } else if (record.state === REJECTED) {
          rejectPending(pending, record.next);
          return;
        } else {
          value = record.next;
        }
      } else {
        try {
          if (typeof value.then === 'function') {
            harden(value);
            state = FOLLOWS;
          }
        } catch (error) {
          rejectPending(pending, error);
          return;
        }
      }
    }
    settle(value);
    settled(pending, state, state === FOLLOWS ? undefined : value);
  }

  function rejectPending(pending, reason) {
    if (pending.state !== WAITS) return;
    const { refuse: reject } = pending;
    if (isObject(reason)) {
      try {
        harden(reason);
      } catch (error) {
        reason = error;
      }
    }
    reject(reason);
    settled(pending, REJECTED, reason);
  }

  function adopt(result, handler) {
    result.adopted = true;
    result.internal = true;
    result.handler = handler;
  }

  function makeHandledPromise(handler) {
    const pending = newPending(handler);
    return {
      promise: pending.promise,
      resolve: (value) => resolvePending(pending, value),
      reject: (reason) => rejectPending(pending, reason),
      pending,
    };
  }

  // --- Sending ---

  function hardenArgs(args) {
    for (let i = 0; i < args.length; i++) {
      const arg = args[i];
      if (isObject(arg)) harden(arg);
    }
  }

  function applyMethod(target, name, args) {
    hardenArgs(args);
    const result = newPending(undefined);
    const { promise } = result;
    start(APPLY_METHOD, target, name, args, result);
    return promise;
  }

  function sendOnly(target, name, args) {
    hardenArgs(args);
    start(APPLY_METHOD, target, name, args, undefined);
  }

  function applyFunction(target, args, wanted) {
    hardenArgs(args);
    const result = wanted ? newPending(undefined) : undefined;
    const promise = wanted ? result.promise : undefined;
    start(APPLY_FUNCTION, target, undefined, args, result);
    return promise;
  }

  function access(op, target, name, value, wanted) {
    if (isObject(value)) harden(value);
    const result = wanted ? newPending(undefined) : undefined;
    const promise = wanted ? result.promise : undefined;
    start(op, target, name, value, result);
    return promise;
  }

  const toKey = (name) => (typeof name === 'string' || typeof name === 'symbol' ? name : StringOf(name));

  // --- HandledPromise ---

  function checkHandler(handler) {
    if (!isObject(handler)) fail(X`Handler ${handler} cannot be a primitive`, TypeError);
    return modern(handler);
  }

  function HandledPromise(executor, pendingHandler = undefined) {
    if (new.target === undefined) Fail`must be invoked with "new"`;
    const handler = pendingHandler ? checkHandler(pendingHandler) : undefined;
    const promise = construct(Promise, [capture], new.target);
    const pending = new Pending(promise, handler);
    pending.internal = false;
    harden(promise);
    records.set(promise, pending);

    const resolveHandled = (value) => resolvePending(pending, value);
    const rejectHandled = (reason) => rejectPending(pending, reason);
    const resolveWithPresence = (presenceHandler = pendingHandler, options = {}) => {
      if (pending.state !== WAITS) return pending.state === VALUE ? pending.next : null;
      try {
        const traps = checkHandler(presenceHandler);
        const { proxy } = options;
        let presence;
        if (!proxy) {
          presence = create(null);
        } else if (proxy.revokerCallback) {
          const { revokerCallback } = proxy;
          const revocable = Proxy.revocable(proxy.target, proxy.handler);
          presence = revocable.proxy;
          revokerCallback(revocable.revoke);
        } else {
          presence = new Proxy(proxy.target, proxy.handler);
        }
        presences.set(presence, new Presence(traps, false, promise));
        resolvePending(pending, presence);
        return presence;
      } catch (error) {
        rejectPending(pending, error);
        throw error;
      }
    };
    executor(resolveHandled, rejectHandled, resolveWithPresence);
    return promise;
  }

  const hasOwnThen = (promise) => getOwnPropertyDescriptor(promise, 'then') !== undefined
    || getOwnPropertyDescriptor(promise, 'constructor') !== undefined;

  function resolve(value) {
    let promise = value;
    if (!isObject(value) || !records.has(value)) {
      const presence = isObject(value) ? presences.get(value) : undefined;
      promise = presence !== undefined && presence.promise !== undefined ? presence.promise : Promise.resolve(value);
    }
    harden(promise);
    if (isFrozen(promise) && getPrototypeOf(promise) === Promise.prototype && !hasOwnThen(promise)
      && Promise.resolve(promise) === promise) {
      return promise;
    }
    const follow = (settle, refuseIt) => promise.then(settle, refuseIt);
    return harden(promiseThen(Promise.resolve(), () => new HandledPromise(follow)));
  }

  const statics = {
    get: (target, name) => access(GET, target, toKey(name), undefined, true),
    getSendOnly(target, name) { access(GET, target, toKey(name), undefined, false); },
    applyFunction: (target, args) => applyFunction(target, [...args], true),
    applyFunctionSendOnly(target, args) { applyFunction(target, [...args], false); },
    applyMethod: (target, name, args) => applyMethod(target, toKey(name), [...args]),
    applyMethodSendOnly(target, name, args) { sendOnly(target, toKey(name), [...args]); },
    resolve,
    // Of 2019.
    set: (target, name, value) => access(SET, target, toKey(name), value, true),
    setSendOnly(target, name, value) { access(SET, target, toKey(name), value, false); },
    delete: (target, name) => access(DELETE, target, toKey(name), undefined, true),
    deleteSendOnly(target, name) { access(DELETE, target, toKey(name), undefined, false); },
    apply: (target, args) => applyFunction(target, [...args], true),
    applySendOnly(target, args) { applyFunction(target, [...args], false); },
  };
  setPrototypeOf(HandledPromise, Promise);
  HandledPromise.prototype = Promise.prototype;
  for (const name of ownKeys(statics)) {
    defineProperty(HandledPromise, name, { value: statics[name], writable: false, enumerable: true, configurable: false });
  }

  // --- E ---

  const REFUSALS = {
    set() { return false; },
    isExtensible() { return false; },
    setPrototypeOf() { return false; },
    deleteProperty() { return false; },
    has() { return true; },
  };

  function CallTraps(target) { this.target = target; }
  CallTraps.prototype = {
    ...REFUSALS,
    get(_, name, receiver) {
      const { target } = this;
      return {
        method(...args) {
          if (this !== receiver) {
            return HandledPromise.reject(makeError(X`Unexpected receiver for "${q(name)}" method of E(${q(target)})`));
          }
          return applyMethod(target, name, args);
        },
      }.method;
    },
    apply(_, _self, args) { return applyFunction(this.target, args, true); },
  };

  function SendOnlyTraps(target) { this.target = target; }
  SendOnlyTraps.prototype = {
    ...REFUSALS,
    get(_, name, receiver) {
      const { target } = this;
      return {
        method(...args) {
          if (this !== receiver) Fail`Unexpected receiver for "${q(name)}" method of E.sendOnly(${q(target)})`;
          sendOnly(target, name, args);
        },
      }.method;
    },
    apply(_, _self, args) { applyFunction(this.target, args, false); },
  };

  function GetTraps(target) { this.target = target; }
  GetTraps.prototype = { ...REFUSALS, get(_, name) { return access(GET, this.target, name, undefined, true); } };

  // Without properties of its own: methods may be called `name` and `length`.
  const callable = () => {};
  delete callable.name;
  delete callable.length;
  freeze(callable);
  const bare = freeze({ __proto__: null });
  const E = (target) => new Proxy(callable, new CallTraps(target));
  E.get = (target) => new Proxy(bare, new GetTraps(target));
  E.resolve = resolve;
  E.sendOnly = (target) => new Proxy(callable, new SendOnlyTraps(target));
  E.when = (value, onFulfilled, onRejected) => promiseThen(resolve(value), onFulfilled, onRejected);

  runtime.HandledPromise = harden(HandledPromise);
  runtime.E = harden(E);
  runtime.registerPresence = registerPresence;
  runtime.makeHandledPromise = makeHandledPromise;
  runtime.newPending = newPending;
  runtime.resolvePending = resolvePending;
  runtime.rejectPending = rejectPending;
  runtime.adopt = adopt;
  runtime.applyMethod = applyMethod;
  runtime.sendOnly = sendOnly;
  runtime.isHandledPromise = (value) => records.has(value);
  runtime.getMethodNames = getMethodNames;
  runtime.invokeMethod = invokeMethod;
  defineProperty(globalThis, 'HandledPromise', { value: HandledPromise, writable: true, enumerable: false, configurable: true });
})
