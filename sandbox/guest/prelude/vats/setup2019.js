// Vats whose module has a default export `setup(syscall, state, helpers)`, as SwingSet had them in 2019.
//
// - `setup` returns a dispatch object. If that is what `helpers.makeLiveSlots` made of our own syscall object, liveslots is used
//   as it is; otherwise the vat is raw: it gets the protocol of 2019 and speaks it.
// - The kernel forgets no promise of a raw vat that does not say so itself.
(function (native, runtime) {
  'use strict';
  const { host } = native;
  const { E, D, harden, liveslots, mustPassByPresence, slots: table } = runtime;
  const { Error, Promise, TypeError } = globalThis;
  const { parse, stringify } = JSON;
  const StringOf = String;

  const OP_LOG = 80;
  const PRESENCE = '{"@qclass":"slot","index":0}';
  const LONG = 40, KEPT = 15;

  // ---- the log of `dump()` ----

  const abbreviate = (_key, value) => (typeof value === 'bigint' ? Number(value)
    : typeof value === 'string' && value.length >= LONG ? `${value.slice(0, KEPT)}...${value.slice(-KEPT)}` : value);

  function log(...args) {
    let line = '';
    for (let i = 0; i < args.length; i++) line += typeof args[i] === 'string' ? args[i] : stringify(args[i], abbreviate);
    host(OP_LOG, line);
  }

  // ---- the syscalls of 2019, on ours ----

  function text(value, what) {
    if (typeof value !== 'string') throw new TypeError(`${what} must be a string, not ${StringOf(value)}`);
    return value;
  }

  function name(value) {
    if (!text(value, 'method').isWellFormed()) throw new TypeError('method is not well-formed');
    return value;
  }

  function capdata(data) {
    if (data === null || typeof data !== 'object' || typeof data.body !== 'string') throw new TypeError('capdata has non-string .body');
    if (!Array.isArray(data.slots)) throw new TypeError('capdata has non-Array slots');
    for (let i = 0; i < data.slots.length; i++) text(data.slots[i], 'a slot');
    return { body: data.body, slots: [...data.slots] };
  }

  const ours = liveslots.direct;
  const syscall = harden({
    send(target, method, args, result) {
      const { body, slots } = capdata(args);
      ours.send(text(target, 'target'), name(method), body, slots, result === undefined || result === null ? '' : text(result, 'result'));
    },
    subscribe(vpid) { ours.subscribe(text(vpid, 'promise')); },
    fulfillToData(vpid, data) { ours.resolveOne(text(vpid, 'promise'), false, capdata(data)); },
    fulfillToPresence(vpid, slot) { ours.resolveOne(text(vpid, 'promise'), false, { body: PRESENCE, slots: [text(slot, 'slot')] }); },
    // Not of 2019: the vat does not decide these, and speaks of them no more.
    forgetPromises(vpids) { ours.forgetPromises(vpids.map((vpid) => text(vpid, 'promise'))); },
    reject(vpid, data) { ours.resolveOne(text(vpid, 'promise'), true, capdata(data)); },
    callNow(device, method, args) {
      const { body, slots } = capdata(args);
      return harden(ours.callNow(text(device, 'device'), name(method), body, slots));
    },
  });

  // The other way: for liveslots on a syscall object that the vat has made.
  const isPresence = ({ body, slots }) => slots.length === 1 && slots[0][0] === 'o'
    && (body === PRESENCE || (body.startsWith('#"$0') && (body[4] === '"' || body[4] === '.')));

  function behind(its) {
    const resolveOne = (vpid, rejected, data) => {
      if (rejected) its.reject(vpid, harden(data));
      else if (isPresence(data)) its.fulfillToPresence(vpid, data.slots[0]);
      else its.fulfillToData(vpid, harden(data));
    };
    return {
      send(target, method, body, slots, result) { its.send(target, method, harden({ body, slots }), result === '' ? null : result); },
      resolveOne,
      resolve(list) { for (const { vpid, rejected, data } of list) resolveOne(vpid, rejected, data); },
      subscribe(vpid) { its.subscribe(vpid); },
      callNow: (device, method, body, slots) => capdata(its.callNow(device, method, harden({ body, slots }))),
    };
  }

  // ---- setup ----

  const list = (slots) => (slots === '' ? [] : slots.split(','));

  // The root object of a vat of 2019, built and exported.
  function exportRoot(root) {
    mustPassByPresence(root);
    if (table.vrefs.has(root)) throw new TypeError('buildRootObject() must return an object of its own');
    table.hold(root, 'o+0');
  }

  function setUp(setup, name, vatID) {
    let made;
    let itsSyscall;
    const state = harden({ activate() { throw new Error('state.activate() not implemented'); } });
    const helpers = harden({
      vatID: name,
      log,
      makeLiveSlots(givenSyscall, _state, buildRootObject, _vatID) {
        if (made !== undefined) throw new Error('makeLiveSlots() was called before: a vat has one root object');
        itsSyscall = givenSyscall;
        if (itsSyscall !== syscall) liveslots.through(behind(itsSyscall));
        exportRoot(buildRootObject(E, D, runtime.vatPowers));
        made = harden({
          deliver(target, method, args, result) {
            liveslots.message(target, '1', method, args.body, args.slots.join(','), result === undefined || result === null ? '' : result);
          },
          notifyFulfillToData(vpid, data) { liveslots.notify([vpid, '0', data.body, data.slots.join(',')]); },
          notifyFulfillToPresence(vpid, slot) { liveslots.notify([vpid, '0', PRESENCE, slot]); },
          notifyReject(vpid, data) { liveslots.notify([vpid, '1', data.body, data.slots.join(',')]); },
        });
        return made;
      },
    });
    const dispatch = setup(syscall, state, helpers);
    if (dispatch === null || dispatch === undefined || typeof dispatch.deliver !== 'function') {
      throw new Error(`vat setup() failed to return a 'dispatch' with .deliver: ${dispatch}`);
    }
    if (dispatch === made && itsSyscall === syscall) return undefined;
    // Its dispatch may get at liveslots in ways that only know of promises that stay.
    if (made !== undefined && itsSyscall === syscall) liveslots.through(ours);
    return raw(dispatch, vatID);
  }

  // ---- raw vats ----

  // A body of method and arguments, as today's vats send it, taken apart. The method is undefined if it is no string.
  function takeApart(body) {
    const smallcaps = body[0] === '#';
    const [method, args] = parse(smallcaps ? body.slice(1) : body);
    const plain = !smallcaps || typeof method !== 'string' || method === '' || method[0] < '!' || method[0] > '-';
    return {
      method: typeof method !== 'string' ? undefined : plain ? method : method[0] === '!' ? method.slice(1) : undefined,
      body: (smallcaps ? '#' : '') + stringify(args),
    };
  }

  function raw(dispatch, vatID) {
    // What a dispatch function throws is for the console: nobody waits for it.
    const attempt = (what, run) => {
      const complain = (error) => { console.error(`vat[${vatID}]${what} failed: ${StringOf(error)}`); };
      try {
        const value = run();
        if (value instanceof Promise) value.then(undefined, complain);
      } catch (error) {
        complain(error);
      }
    };
    const hook = (name) => (vrefs) => {
      if (typeof dispatch[name] === 'function') attempt(`.${name}`, () => dispatch[name](harden(vrefs)));
    };
    return {
      message(target, form, name, body, slots, result) {
        const message = form === '1' ? { method: name, body } : takeApart(body);
        if (message.method === undefined) {
          const reason = '{"@qclass":"error","name":"Error","message":"message has non-string .method"}';
          if (result !== '') ours.resolveOne(result, true, { body: reason, slots: [] });
          return;
        }
        const args = harden({ body: message.body, slots: list(slots) });
        attempt(`[${target}].${message.method} dispatch`, () => dispatch.deliver(target, message.method, args, result === '' ? null : result));
      },
      notify(fields) {
        for (let i = 0; i < fields.length; i += 4) {
          const vpid = fields[i];
          const data = harden({ body: fields[i + 2], slots: list(fields[i + 3]) });
          attempt(`.promise[${vpid}] notify`, () => (fields[i + 1] === '1' ? dispatch.notifyReject(vpid, data)
            : isPresence(data) ? dispatch.notifyFulfillToPresence(vpid, data.slots[0]) : dispatch.notifyFulfillToData(vpid, data)));
        }
      },
      dropExports: hook('dropExports'),
      retireExports: hook('retireExports'),
      retireImports: hook('retireImports'),
    };
  }

  runtime.setup2019 = { setUp, exportRoot, log: harden(log) };
})
