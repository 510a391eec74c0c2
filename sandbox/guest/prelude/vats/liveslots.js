// Liveslots: messages to and from the objects of a vat, in both dialects.
//
// - A delivery calls the method at once: the stack is empty, nothing else waits. What it comes to is told to the kernel one
//   turn later, so that what the method has sent comes first.
// - The result of a delivery needs a promise only if the method returns one. `settling` holds the others until their turn.
// - A promise of which the kernel knows is decided by one side: it is either in `imported` or in `decided`. The kernel and the
//   vat forget it when it is resolved; `settled` remembers what our own came to, for when they are sent again.
// - Order of the syscalls of a send: the send, what is known of the promises in it, the subscription to its result.
(function (native, runtime) {
  'use strict';
  const { host } = native;
  const { HandledPromise, makeRemotable, harden, queueMicrotask, slots: table } = runtime;
  const { adopt, applyMethod, getMethodNames, newPending, registerPresence, rejectPending, resolvePending } = runtime;
  const { read, readArgs, readCall, writeArgs, write: writeValue, quick, NONE } = runtime.bodies;
  const { imported, decided, vrefs, fresh, target: exportOf, vrefOf, valueOf, retain, nextPromise, forgetAllocated } = table;
  const { Error, Promise, Set, TypeError, WeakMap, console } = globalThis;
  const { isError } = Error;
  const { debug } = console;
  const { stringify } = JSON;
  const { apply } = Reflect;
  const { quotedName } = runtime.encoders;
  const StringOf = String;

  const OP_SEND = 70, OP_RESOLVE = 71, OP_SUBSCRIBE = 72, OP_CALL_NOW = 73, OP_EXIT = 74, OP_FORGET = 82;
  // Of the arguments of one syscall.
  const MAX_BODY_CHARS = 10_000_000;
  const MAX_SLOTS = 10_000;
  const MAX_VALUES = 50_000;
  const MAX_DIGITS = 5_000;

  const QUOTE = 34, COMMA = 44, BRACKET = 91, BACKSLASH = 92, BRACE = 123;

  let is2019 = false;
  let retires = true; // kernel and vat forget a promise that is resolved

  // ---- syscalls ----

  function syscall(op, text) {
    const refusal = host(op, text);
    if (refusal !== undefined) throw new Error(refusal[1]);
  }

  // A vat of 2019 may put its own syscall object in between: then this is another one.
  const kernel = {
    // `method` is undefined where it is part of the body.
    send(target, method, body, slots, result) {
      syscall(OP_SEND, method === undefined
        ? target + '\n2\n' + result + '\n' + join(slots) + '\n\n' + body
        : target + '\n1\n' + result + '\n' + join(slots) + '\n' + quotedName(method) + '\n' + body);
    },
    resolveOne(vpid, rejected, data) { syscall(OP_RESOLVE, '[' + resolution(vpid, rejected, data) + ']'); },
    resolve(list) {
      let text = '[';
      for (let i = 0; i < list.length; i++) {
        text += (i === 0 ? '' : ',') + resolution(list[i].vpid, list[i].rejected, list[i].data);
      }
      syscall(OP_RESOLVE, text + ']');
    },
    subscribe(vpid) { syscall(OP_SUBSCRIBE, vpid); },
    forgetPromises(vpids) { syscall(OP_FORGET, join(vpids)); },
    // What the device answers.
    callNow(device, method, body, slots) {
      const answer = host(OP_CALL_NOW, device + '\n' + join(slots) + '\n' + stringify(method) + '\n' + body);
      if (typeof answer !== 'string') throw new Error(answer === undefined ? 'no answer' : answer[1]);
      const end = answer.indexOf('\n');
      return { body: answer.slice(end + 1), slots: end === 0 ? NONE : answer.slice(0, end).split(',') };
    },
  };
  let to = kernel;

  const join = (slots) => (slots.length === 0 ? '' : slots.join(','));

  // No vref has anything to escape.
  const resolution = (vpid, rejected, { body, slots }) => '["' + vpid + (rejected ? '",true,' : '",false,') + stringify(body)
    + (slots.length === 0 ? ',[]]' : ',["' + slots.join('","') + '"]]');

  // ---- bodies ----

  const tooLarge = harden(new Error('syscall capdata too large'));

  // Whether whoever is given this can read it within its limits: the kernel takes nothing else.
  function isDigestible(body) {
    if (body.length <= MAX_DIGITS) return true;
    const isSmallcaps = body[0] === '#';
    let values = 0;
    for (let at = 0; at < body.length;) {
      const code = body.charCodeAt(at++);
      if (code === QUOTE) {
        const begin = at;
        for (let isEscaped = true; isEscaped; at++) {
          at = body.indexOf('"', at);
          let slashes = 0;
          while (body.charCodeAt(at - 1 - slashes) === BACKSLASH) slashes++;
          isEscaped = slashes % 2 === 1;
        }
        const isNumber = isSmallcaps && (body[begin] === '+' || body[begin] === '-');
        if (isNumber && at - 1 - begin > MAX_DIGITS) return false;
      } else if (code === COMMA || code === BRACKET || code === BRACE) {
        if (++values > MAX_VALUES) return false;
      }
    }
    return true;
  }

  // What a value is in a message, or throws why it cannot be. `check` is asked about the slots before the kernel knows any.
  function write(value, check) {
    return outgoing(value, undefined, false, check);
  }

  function outgoing(value, method, isArgs, check) {
    let data;
    try {
      data = isArgs ? writeArgs(value, method) : writeValue(value);
      const { body, slots } = data;
      if (body.length > MAX_BODY_CHARS || slots.length > MAX_SLOTS || !isDigestible(body)) throw tooLarge;
      if (check !== undefined) check(slots);
    } catch (error) {
      forgetAllocated();
      throw error;
    }
    if (data.slots.length > 0) retain(data.slots);
    return data;
  }

  // ---- what comes in ----

  function promiseOf(value) {
    return value !== null && (typeof value === 'object' || typeof value === 'function') && typeof value.then === 'function'
      ? HandledPromise.resolve(value)
      : undefined;
  }

  function message(target, form, name, body, slots, result) {
    let method = name, args, value;
    try {
      if (form === '1') {
        args = readArgs(body, slots);
      } else {
        const call = readCall(body, slots);
        method = call[0];
        args = call[1];
      }
      let object = exportOf(target);
      // A virtual object; or an error.
      if (object === undefined && target[0] === 'o') object = valueOf(target);
      const known = object !== undefined && typeof method === 'string' ? object[method] : undefined;
      value = typeof known === 'function' ? apply(known, object, args) : eventually(object, target, method, args);
      if (result === '') return;
      const promise = promiseOf(value);
      if (promise !== undefined) decide(result, promise);
      else settleSoon(result, false, harden(value));
    } catch (error) {
      // Nobody will know of it: the same as a rejection that nobody handles.
      if (result === '') Promise.reject(error);
      else settleSoon(result, true, error);
    }
  }

  // Everything but a method that is there: a promise as target, a function, and errors.
  function eventually(object, target, method, args) {
    if (object !== undefined && method === '__getMethodNames__') return getMethodNames(object);
    const recipient = object === undefined ? valueOf(target) : object;
    return args === undefined ? HandledPromise.get(recipient, method)
      : method === undefined || method === null ? HandledPromise.applyFunction(recipient, args)
        : applyMethod(recipient, method, args);
  }

  // From now on the vat decides `vpid`, and it becomes what `promise` becomes.
  function decide(vpid, promise) {
    const pending = imported.get(vpid);
    if (pending !== undefined) {
      // It was imported before: whoever has that promise keeps it.
      const { promise: known } = pending;
      imported.delete(vpid);
      resolvePending(pending, promise);
      promise = known;
    } else if (!vrefs.has(promise)) {
      vrefs.set(promise, vpid);
    }
    decided.set(vpid, promise);
    follow(vpid, promise, pending !== undefined);
  }

  // ---- what is resolved here ----

  const settling = [];
  let settlingFrom = 0;

  function settleSoon(vpid, rejected, value) {
    if (imported.has(vpid)) {
      decide(vpid, rejected ? Promise.reject(value) : Promise.resolve(value));
      return;
    }
    settling.push(vpid, rejected, value);
    queueMicrotask(settleNext);
  }

  function settleNext() {
    const vpid = settling[settlingFrom], rejected = settling[settlingFrom + 1], value = settling[settlingFrom + 2];
    settlingFrom += 3;
    if (settlingFrom === settling.length) {
      settling.length = 0;
      settlingFrom = 0;
    }
    const text = to === kernel && !rejected ? quick(value) : undefined;
    if (text === undefined || text.length > MAX_BODY_CHARS) settle(vpid, rejected, value);
    else syscall(OP_RESOLVE, '[["' + vpid + '",false,' + stringify(is2019 ? text : '#' + text) + ',[]]]');
  }

  // What promises that the vat has resolved came to: they may be sent again, and are the kernel's under another name then.
  const settled = new WeakMap();

  // `remember` if others may know the promise under another name.
  function follow(vpid, promise, remember) {
    promise.then(
      (value) => {
        if (remember) settled.set(promise, { rejected: false, value });
        settle(vpid, false, value);
      },
      (reason) => {
        if (remember) settled.set(promise, { rejected: true, value: reason });
        settle(vpid, true, reason);
      },
    );
  }

  function settle(vpid, rejected, value) {
    let data;
    try {
      data = write(harden(value));
    } catch (error) {
      if (error === tooLarge) return exit(true, error);
      rejected = true;
      value = error;
      data = write(harden(error));
    }
    if (rejected) sayPlace(value);
    if (fresh.size === 0) {
      to.resolveOne(vpid, rejected, data);
      forget(vpid);
    } else {
      announce([{ vpid, rejected, data }]);
    }
  }

  // An error goes without its stack: where it was thrown stands on the console, once, and only if that was in this vat.
  const placed = runtime.arrivedErrors;

  function sayPlace(reason) {
    if (!isError(reason) || placed.has(reason)) return;
    placed.add(reason);
    debug('Error sent:', reason);
  }

  // The kernel has just learned, or learns by `list`, of the promises in `fresh`. What is known of them it learns now, in
  // one syscall; the others are ours to resolve from now on.
  function announce(list) {
    const done = [];
    for (const [vpid, promise] of fresh) {
      const known = settled.get(promise);
      if (known === undefined) continue;
      fresh.delete(vpid);
      done.push(promise);
      try {
        list.push({ vpid, rejected: known.rejected, data: write(known.value) });
      } catch (error) {
        list.push({ vpid, rejected: true, data: write(harden(error)) });
      }
    }
    if (list.length > 0) {
      to.resolve(list);
      for (let i = 0; i < list.length; i++) forget(list[i].vpid);
      // Not before: they may refer to each other.
      if (retires) for (let i = 0; i < done.length; i++) vrefs.delete(done[i]);
    }
    for (const [vpid, promise] of fresh) {
      decided.set(vpid, promise);
      follow(vpid, promise, true);
    }
    fresh.clear();
  }

  // A promise of ours is resolved.
  function forget(vpid) {
    const promise = decided.get(vpid);
    if (promise === undefined || !retires) return;
    decided.delete(vpid);
    if (vrefs.get(promise) === vpid) vrefs.delete(promise);
  }

  // ---- what the kernel resolves ----

  let notifying = false;
  let met; // while notifying: promises to which the vat subscribes afterwards

  function subscribe(vpid) {
    if (!notifying) to.subscribe(vpid);
    else if (met === undefined) met = new Set([vpid]);
    else met.add(vpid);
  }

  // Instead of a value: why the body could not be read.
  class Malformed {
    constructor(error) { this.error = error; }
  }

  // What is read here may mention promises that are resolved by the same notification.
  function readLater(body, slots) {
    notifying = true;
    try {
      return read(body, slots);
    } catch (error) {
      return new Malformed(error);
    } finally {
      notifying = false;
    }
  }

  function resolveImported(vpid, rejected, value) {
    const pending = imported.get(vpid);
    // Stale: of an earlier incarnation, or the vat has become the decider.
    if (pending === undefined) return;
    imported.delete(vpid);
    if (retires) vrefs.delete(pending.promise);
    else decided.set(vpid, pending.promise);
    if (value instanceof Malformed) rejectPending(pending, value.error);
    else if (rejected === '1') rejectPending(pending, value);
    else resolvePending(pending, value);
  }

  // Groups of vpid, '1' for a rejection, body, slots. All are read before the first is resolved: they may refer to each other.
  function notify(fields) {
    const count = fields.length;
    if (count === 4) {
      resolveImported(fields[0], fields[1], readLater(fields[2], fields[3]));
    } else {
      const values = [];
      for (let i = 0; i < count; i += 4) values[values.length] = readLater(fields[i + 2], fields[i + 3]);
      for (let i = 0; i < count; i += 4) resolveImported(fields[i], fields[i + 1], values[i / 4]);
    }
    if (met === undefined) return;
    const left = [...met].filter((vpid) => imported.has(vpid)).sort();
    met = undefined;
    for (let i = 0; i < left.length; i++) to.subscribe(left[i]);
  }

  // ---- what goes out ----

  function mustBeName(method) {
    if (typeof method !== 'string') throw new Error(`message has non-string .method ${StringOf(method)}`);
    // Nobody outside of the vat could read it.
    if (!method.isWellFormed()) throw new TypeError('message has a .method that is not well-formed');
  }

  // `args` are hardened values. `result` is settled by a notification; until then what is sent to its promise goes out at once.
  function send(target, method, args, result) {
    if (is2019) mustBeName(method);
    const { body, slots } = outgoing(args, method, true, undefined);
    const vpid = nextPromise();
    adopt(result, ofPromises);
    imported.set(vpid, result);
    vrefs.set(result.promise, vpid);
    to.send(target, is2019 ? method : undefined, body, slots, vpid);
    if (fresh.size > 0) announce([]);
    to.subscribe(vpid);
  }

  function sendOnly(target, method, args) {
    if (is2019) mustBeName(method);
    const { body, slots } = outgoing(args, method, true, undefined);
    to.send(target, is2019 ? method : undefined, body, slots, '');
    if (fresh.size > 0) announce([]);
  }

  // One handler for all presences, one for all promises of the kernel's: they know by their target whom it is about.
  const ofPresences = {
    applyMethod(presence, method, args, result) { send(vrefs.get(presence), method, args, result); },
    applyFunction(presence, args, result) { send(vrefs.get(presence), undefined, args, result); },
    applyMethodSendOnly(presence, method, args) { sendOnly(vrefs.get(presence), method, args); },
    applyFunctionSendOnly(presence, args) { sendOnly(vrefs.get(presence), undefined, args); },
    // Never remote.
    get: (presence, name) => presence[name],
  };
  const ofPromises = {
    ...ofPresences,
    get: (promise, name) => promise.then((object) => object[name]),
  };

  function importPromise(vpid) {
    const promise = revivePromise(vpid);
    subscribe(vpid);
    return promise;
  }

  // A promise that an earlier incarnation has subscribed to.
  function revivePromise(vpid) {
    const known = imported.get(vpid);
    if (known !== undefined) return known.promise;
    const pending = newPending(ofPromises);
    const { promise } = pending;
    imported.set(vpid, pending);
    vrefs.set(promise, vpid);
    return promise;
  }

  // The kernel gets to know a promise of the vat, which has just got its name, and tells the next incarnation what becomes of it.
  function exportPromise(vpid) {
    retain(NONE);
    to.subscribe(vpid);
    announce([]);
  }

  // Of 2019: an object that can only be printed. Today's is a remotable.
  const { toString } = harden({
    toString() {
      const vref = vrefs.get(this);
      return vref === undefined ? '[Presence]' : vref[0] === 'd' ? `[Device ${vref}]` : `[Presence ${vref}]`;
    },
  });

  function makePresence(vref, iface) {
    const presence = is2019 ? harden({ __proto__: null, toString })
        : makeRemotable(iface === undefined ? `Alleged: presence ${vref}` : iface);
    registerPresence(presence, ofPresences);
    return presence;
  }

  function makeDevice(vref, iface) {
    return is2019 ? harden({ __proto__: null, toString }) : makeRemotable(iface === undefined ? `Alleged: device ${vref}` : iface);
  }

  // ---- beginning and end ----

  function exit(isFailure, reason) {
    let data;
    try {
      data = write(harden(reason));
    } catch (error) {
      if (error !== tooLarge) throw error;
      isFailure = true;
      data = write(error);
    }
    syscall(OP_EXIT, (isFailure ? '1\n' : '0\n') + join(data.slots) + '\n' + data.body);
  }

  // Once, before the vat's code runs.
  function become(dialect, vatID) {
    is2019 = dialect === '2019';
    runtime.bodies.become(dialect, vatID, vrefOf, valueOf);
    table.become({ makePresence, makeDevice, importPromise }, is2019);
  }

  // `itsKernel` is what stands between a vat of 2019 and the kernel. It has no notion of a promise that is forgotten.
  function through(itsKernel) {
    to = itsKernel;
    retires = false;
  }

  runtime.liveslots = { become, through, kernel: () => to, direct: kernel, message, notify, read, write, exit, revivePromise, exportPromise };
})
