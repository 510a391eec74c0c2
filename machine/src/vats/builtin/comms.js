// The vat that stands for the objects of other machines.
//
//   a vat here ─▶ kernel ─▶ comms ─▶ vattp ─▶ mailbox ~~~~▶ mailbox ─▶ vattp ─▶ comms ─▶ kernel ─▶ a vat there
//
// It is a raw vat: it sees references and bodies, never objects, and passes bodies on as they are, in either dialect.
//
// On the wire a message is one string. References are written as who receives them sees them: `+` he has allocated, `-` the
// sender has. `ro-20` arrives for an object that its receiver calls `ro+20` when he speaks of it.
//
//   deliver:TARGET:METHOD:[RESULT][:SLOT]*;BODY        a message; BODY is the capdata of its arguments
//   resolve:object:PROMISE:SLOT;                       a promise has become an object
//   resolve:data:PROMISE[:SLOT]*;BODY                  ... data
//   resolve:reject:PROMISE[:SLOT]*;BODY                ... an error
//
// Invariants:
// - Each promise has one decider at a time: the kernel (a vat of it), a remote, or, within one delivery, this vat.
// - Messages to a promise go to its decider at once; they never wait here.
// - Who is a promise's subscriber hears of its resolution once, unless he decided it himself.
// - A remote can name only what it was sent or has sent, and can resolve only what it decides.
// - An object of one remote that another one is sent is this vat's proxy to it: messages pass through here.
// - Of a message that cannot be sent on, nothing is sent but its result's rejection.
// - What is sent is short enough for the mailbox.

const CONTROLLER = 'o+0';
const FIRST_OBJECT = 10; // o+10: receivers and proxies
const FIRST_PROMISE = 20; // p+20
const FIRST_REMOTE_OBJECT = 20; // ro-20
const FIRST_REMOTE_PROMISE = 40; // rp-40
const MAX_LENGTH = 1_000_000; // of what a message brings: the mailbox takes 4 MiB, and UTF-8 up to three bytes for each

const KERNEL = harden({ id: 'kernel' });
const UNDEFINED = harden({ body: '{"@qclass":"undefined"}', slots: [] });

const problem = (message, name = 'Error') =>
  harden({ body: JSON.stringify({ '@qclass': 'error', name, message }), slots: [] });
const TOO_LONG = `what is sent to another machine may have ${MAX_LENGTH} characters`;
const sendable = method => typeof method === 'string' && !method.includes(':') && !method.includes(';');
const fits = ({ body, slots }) => body.length + 24 * slots.length <= MAX_LENGTH;
const flip = ref => `${ref.slice(0, 2)}${ref[2] === '+' ? '-' : '+'}${ref.slice(3)}`;

// The reference that capdata consists of, if it is nothing but one object.
const onlySlot = ({ body, slots }) => {
  if (slots.length !== 1 || slots[0][0] !== 'o') return undefined;
  return /^(#"\$0(\..*)?"|\{"@qclass":"slot",.*"index":0\})$/.test(body) ? slots[0] : undefined;
};

// The arguments of a message to this vat itself: strings, numbers and references, in either dialect.
const readArguments = ({ body, slots }) => {
  const modern = body[0] === '#';
  const parsed = JSON.parse(modern ? body.slice(1) : body);
  if (!Array.isArray(parsed)) throw Error('arguments are not an array');
  const seen = [undefined]; // what an `ibid` counts: the array itself, then each reference
  return parsed.map(value => {
    if (typeof value === 'number') return value;
    if (typeof value === 'string') {
      if (!modern) return value;
      if (value[0] === '!') return value.slice(1);
      if (value[0] === '+') return Number(value.slice(1));
      if (value[0] !== '$' && value[0] !== '&') return value;
      return { slot: slots[parseInt(value.slice(1), 10)] };
    }
    if (typeof value === 'object' && value !== null) {
      if (value['@qclass'] === 'bigint') return Number(value.digits);
      if (value['@qclass'] === 'ibid' && seen[value.index]) return seen[value.index];
      if (value['@qclass'] === 'slot') {
        const reference = { slot: slots[value.index] };
        seen.push(reference);
        return reference;
      }
    }
    return undefined;
  });
};

const isIndex = index => Number.isSafeInteger(index) && index >= 0;
const isObject = argument => typeof argument === 'object' && typeof argument.slot === 'string' && argument.slot[0] === 'o';

/**
 * The vat: `setup` of a raw vat.
 *
 * @param {object} syscall `send`, `subscribe`, `fulfillToData`, `fulfillToPresence`, `reject`
 * @returns {object} dispatch
 */
export default function setup(syscall) {
  const remotes = new Map(); // name -> remote
  const receivers = new Map(); // o+N, to which vattp brings a remote's messages -> remote
  const proxies = new Map(); // o+N -> the remote that has the object
  // p±N -> { decider, subscribers, subscribed: we hear of it from the kernel, known: the kernel hears of it from us, resolution }
  const promises = new Map();
  let nextObject = FIRST_OBJECT;
  let nextPromise = FIRST_PROMISE;

  const newObject = () => {
    nextObject += 1;
    return `o+${nextObject - 1}`;
  };

  const track = (vref, decider, known) => {
    const promise = { decider, subscribers: new Set(), subscribed: false, known, resolution: undefined };
    promises.set(vref, promise);
    return promise;
  };

  // What the kernel names is the kernel's, until it hands us its decision.
  const promiseOf = vref => promises.get(vref) || track(vref, KERNEL, true);

  const listen = (vref, promise) => {
    if (promise.subscribed || promise.decider !== KERNEL) return;
    promise.subscribed = true;
    syscall.subscribe(vref);
  };

  // ── references to and from a remote ──

  const exportable = vref => {
    if (vref[0] === 'p') return true;
    return vref[0] === 'o' && (vref[1] === '-' || proxies.has(vref));
  };

  // The reference as `remote` sees it. Promises that it now hears of for the first time, and that are resolved, are added to
  // `late`: their resolutions are to follow.
  const outbound = (remote, vref, late) => {
    const existing = remote.toWire.get(vref);
    if (existing !== undefined) return existing;
    let ref;
    if (vref[0] === 'o') {
      ref = `ro-${remote.nextObject}`;
      remote.nextObject += 1;
    } else {
      ref = `rp-${remote.nextPromise}`;
      remote.nextPromise += 1;
      const promise = promiseOf(vref);
      if (promise.resolution) {
        late.push(vref);
      } else {
        promise.subscribers.add(remote);
        listen(vref, promise);
      }
    }
    remote.toWire.set(vref, ref);
    remote.fromWire.set(flip(ref), vref);
    return ref;
  };

  // The result of a message to `remote`, which decides it from now on.
  const outboundResult = (remote, vref) => {
    const promise = promises.get(vref);
    promise.decider = remote;
    promise.subscribers.delete(remote);
    let ref = remote.toWire.get(vref);
    if (ref === undefined) {
      ref = `rp-${remote.nextPromise}`;
      remote.nextPromise += 1;
      remote.toWire.set(vref, ref);
      remote.fromWire.set(flip(ref), vref);
    }
    return ref;
  };

  const known = (remote, ref) => {
    const vref = remote.fromWire.get(ref);
    if (vref === undefined) throw Error(`target ${ref} must already be in ${remote.id} (${remote.name})`);
    return vref;
  };

  const inbound = (remote, ref) => {
    const existing = remote.fromWire.get(ref);
    if (existing !== undefined) return existing;
    if (!/^r[op][-+](0|[1-9][0-9]{0,14})$/.test(ref)) throw Error(`invalid reference ${ref}`);
    if (ref[2] === '+') throw Error(`I don't remember giving ${ref} to ${remote.id}`);
    let vref;
    if (ref[1] === 'o') {
      vref = newObject();
      proxies.set(vref, remote);
    } else {
      vref = `p+${nextPromise}`;
      nextPromise += 1;
      track(vref, remote, false);
      console.log(`inbound promise ${ref} mapped to ${vref}`);
    }
    remote.fromWire.set(ref, vref);
    remote.toWire.set(vref, flip(ref));
    return vref;
  };

  // The promise whose decision `remote` hands over with a message.
  const inboundResult = (remote, ref) => {
    if (ref[1] !== 'p') throw Error(`${ref} is no promise`);
    const vref = inbound(remote, ref);
    const promise = promises.get(vref);
    insistDecidedBy(remote, vref, promise);
    promise.decider = undefined;
    promise.subscribers.add(remote);
    return vref;
  };

  const insistDecidedBy = (remote, vref, promise) => {
    if (promise.resolution) throw Error(`${vref} is already resolved`);
    if (promise.decider !== remote) {
      throw Error(`${vref} is decided by ${promise.decider ? promise.decider.id : 'comms'}, not ${remote.id}`);
    }
  };

  // ── what goes out ──

  const transmit = (remote, message) =>
    syscall.send(remote.transmitter, 'transmit', harden({ body: JSON.stringify([message]), slots: [] }));

  const transmitResolution = (remote, vref) => {
    const ref = remote.toWire.get(vref);
    const { type, slot, data } = promises.get(vref).resolution;
    const late = [];
    if (type === 'object' && exportable(slot)) {
      transmit(remote, `resolve:object:${ref}:${outbound(remote, slot, late)};`);
    } else if (data && !fits(data)) {
      transmit(remote, `resolve:reject:${ref};${problem(TOO_LONG).body}`);
    } else if (data && data.slots.every(exportable)) {
      const slots = data.slots.map(s => `:${outbound(remote, s, late)}`).join('');
      transmit(remote, `resolve:${type}:${ref}${slots};${data.body}`);
    } else {
      transmit(remote, `resolve:reject:${ref};${problem('what cannot leave this machine was its value').body}`);
    }
    for (const other of late) transmitResolution(remote, other);
  };

  // The kernel learns of our promises when it is sent one for the first time.
  const introduce = slots => {
    const late = [];
    for (const vref of slots) {
      const promise = vref[0] === 'p' && promises.get(vref);
      if (promise && !promise.known) {
        promise.known = true;
        if (promise.resolution) late.push(vref);
      }
    }
    return late;
  };

  const tellKernel = vref => {
    const { type, slot, data } = promises.get(vref).resolution;
    const late = introduce(type === 'object' ? [] : data.slots);
    if (type === 'object') syscall.fulfillToPresence(vref, slot);
    else if (type === 'data') syscall.fulfillToData(vref, data);
    else syscall.reject(vref, data);
    late.forEach(tellKernel);
  };

  const settle = (vref, resolution, from) => {
    const promise = promises.get(vref);
    const { subscribers } = promise;
    promise.resolution = resolution;
    promise.decider = undefined;
    promise.subscribers = undefined;
    if (from !== KERNEL && promise.known) tellKernel(vref);
    for (const remote of subscribers) {
      if (remote !== from) transmitResolution(remote, vref);
    }
  };

  const refuse = (result, data) => {
    if (result) settle(result, harden({ type: 'reject', data }), undefined);
  };

  // ── messages ──

  // Where messages to `vref` are to go: `{ remote, vref }`, `{ vref }` for the kernel, or `{ refusal }`.
  const placeOf = (vref, method) => {
    if (vref[0] === 'p') {
      const { decider, resolution } = promiseOf(vref);
      if (!resolution) {
        if (decider === undefined) return { refusal: problem(`unknown target ${vref}`) };
        return { remote: decider === KERNEL ? undefined : decider, vref };
      }
      if (resolution.type === 'reject') return { refusal: resolution.data };
      const slot = resolution.type === 'object' ? resolution.slot : onlySlot(resolution.data);
      if (slot === undefined) return { refusal: problem(`data is not callable, has no method ${method}`, 'TypeError') };
      return placeOf(slot, method);
    }
    if (vref[0] === 'o' && vref[1] === '-') return { vref };
    const remote = proxies.get(vref);
    return remote ? { remote, vref } : { refusal: problem(`unknown target ${vref}`) };
  };

  // Sends a message on. `result`, if there is one, is a promise that we decide.
  const route = (target, method, args, result) => {
    const { remote, vref, refusal } = placeOf(target, String(method));
    if (refusal) return refuse(result, refusal);
    if (!remote) {
      const late = introduce(args.slots);
      if (result) {
        const promise = promises.get(result);
        promise.decider = KERNEL;
        promise.known = true;
        syscall.send(vref, method, args, result);
        if (promise.subscribers.size > 0) listen(result, promise);
      } else {
        syscall.send(vref, method, args);
      }
      return late.forEach(tellKernel);
    }
    if (!sendable(method)) return refuse(result, problem(`illegal method name ${String(method)}`));
    if (method.length > 1_000 || !fits(args)) return refuse(result, problem(TOO_LONG));
    const stuck = args.slots.find(slot => !exportable(slot));
    if (stuck !== undefined) return refuse(result, problem(`cannot send ${stuck} to another machine`));
    const late = [];
    const slots = args.slots.map(slot => `:${outbound(remote, slot, late)}`).join('');
    const answer = result ? outboundResult(remote, result) : '';
    transmit(remote, `deliver:${remote.toWire.get(vref)}:${method}:${answer}${slots};${args.body}`);
    for (const promise of late) transmitResolution(remote, promise);
    return undefined;
  };

  const receive = (remote, message) => {
    const end = message.indexOf(';');
    if (end < 0) throw Error(`missing semicolon in ${message.slice(0, 80)}`);
    const [command, ...words] = message.slice(0, end).split(':');
    const body = message.slice(end + 1);
    if (command !== 'deliver' && command !== 'resolve') throw Error(`unrecognized command ${command.slice(0, 80)}`);
    if (words[0] !== 'object') JSON.parse(body[0] === '#' ? body.slice(1) : body); // malformed bodies go no further
    if (command === 'deliver') {
      const [to, method, answer, ...refs] = words;
      if (answer === undefined) throw Error('too few words in deliver');
      const target = known(remote, to);
      const args = harden({ body, slots: refs.map(ref => inbound(remote, ref)) });
      route(target, method, args, answer ? inboundResult(remote, answer) : undefined);
    } else {
      const [type, of, ...refs] = words;
      const vref = known(remote, of);
      const promise = promises.get(vref);
      if (promise === undefined) throw Error(`${of} is no promise`);
      insistDecidedBy(remote, vref, promise);
      if (type === 'object') {
        if (refs.length !== 1 || refs[0][1] !== 'o') throw Error(`${vref} can only become one object`);
        settle(vref, harden({ type, slot: inbound(remote, refs[0]) }), remote);
      } else if (type === 'data' || type === 'reject') {
        const data = harden({ body, slots: refs.map(ref => inbound(remote, ref)) });
        settle(vref, harden({ type, data }), remote);
      } else {
        throw Error(`unknown resolution type ${type}`);
      }
    }
  };

  // ── this vat's own methods ──

  const remoteCalled = name => {
    const remote = remotes.get(name);
    if (!remote) throw Error(`unknown remote name ${name}`);
    return remote;
  };

  // Each answers with the object that its caller gets, or undefined.
  const controller = {
    // 2019: addRemote(name, transmitter, setReceiver). Today: addRemote(name, transmitter) -> receiver.
    addRemote(name, transmitter, setReceiver) {
      if (typeof name !== 'string') throw Error(`bad addRemote name ${name}`);
      if (!isObject(transmitter) || (setReceiver && !isObject(setReceiver))) throw Error('unexpected args for addRemote()');
      if (remotes.has(name)) throw Error(`remote name ${name} already in use`);
      const receiver = newObject();
      const remote = {
        id: `remote${remotes.size + 1}`,
        name,
        transmitter: transmitter.slot,
        fromWire: new Map(), // ro±N, rp±N as they arrive -> o±N, p±N
        toWire: new Map(), // o±N, p±N -> ro±N, rp±N as they are sent
        nextObject: FIRST_REMOTE_OBJECT,
        nextPromise: FIRST_REMOTE_PROMISE,
      };
      remotes.set(name, remote);
      receivers.set(receiver, remote);
      if (!setReceiver) return receiver;
      const args = harden({ body: '[{"@qclass":"slot","index":0}]', slots: [receiver] });
      syscall.send(setReceiver.slot, 'setReceiver', args);
      return undefined;
    },

    // Makes `object` what `name` gets by addIngress with the same index.
    addEgress(name, index, object) {
      const remote = remoteCalled(name);
      if (!isIndex(index) || !isObject(object)) throw Error('unexpected args for addEgress()');
      const vref = object.slot;
      if (!exportable(vref)) throw Error(`cannot send ${vref} to another machine`);
      const ref = `ro+${index}`;
      if (remote.toWire.has(vref)) throw Error(`already present ${vref}`);
      if (remote.fromWire.has(ref)) throw Error(`already present ${ref}`);
      remote.fromWire.set(ref, vref);
      remote.toWire.set(vref, flip(ref));
      remote.nextObject = Math.max(remote.nextObject, index + 1);
      return undefined;
    },

    addIngress(name, index) {
      const remote = remoteCalled(name);
      if (!isIndex(index)) throw Error('unexpected args for addIngress()');
      return inbound(remote, `ro-${index}`);
    },
  };

  const control = (method, args, result) => {
    try {
      if (!Object.hasOwn(controller, method)) throw Error(`method ${String(method)} is not available`);
      const object = controller[method](...readArguments(args));
      if (!result) return;
      if (object) syscall.fulfillToPresence(result, object);
      else syscall.fulfillToData(result, UNDEFINED);
    } catch (error) {
      if (result) syscall.reject(result, problem(error.message));
      else console.log(`comms.${String(method)}: ${error.message}`);
    }
  };

  const fromTransport = (remote, method, args, result) => {
    try {
      if (method !== 'receive') throw Error(`unexpected method ${String(method)}`);
      const [message] = readArguments(args);
      if (typeof message !== 'string') throw Error('a message is a string');
      receive(remote, message);
      if (result) syscall.fulfillToData(result, UNDEFINED);
    } catch (error) {
      console.log(`comms: from ${remote.name}: ${error.message}`);
      if (result) syscall.reject(result, problem(error.message));
    }
  };

  // What the kernel says of a promise that it no longer decides, or that we know of already, is not news.
  const notify = (vref, resolution) => {
    const promise = promises.get(vref);
    if (promise && !promise.resolution && promise.decider === KERNEL) settle(vref, harden(resolution), KERNEL);
  };

  return harden({
    deliver(target, method, args, result) {
      if (target === CONTROLLER) return control(method, args, result);
      const remote = receivers.get(target);
      if (remote) return fromTransport(remote, method, args, result);
      if (result) {
        // The kernel hands us its decision.
        const promise = promiseOf(result);
        promise.decider = undefined;
        promise.known = true;
      }
      return route(target, method, args, result || undefined);
    },
    notifyFulfillToData(vref, data) {
      console.log(`comms.notifyFulfillToData(${vref})`);
      notify(vref, { type: 'data', data });
    },
    notifyFulfillToPresence(vref, slot) {
      console.log(`comms.notifyFulfillToPresence(${vref}) = ${slot}`);
      notify(vref, { type: 'object', slot });
    },
    notifyReject(vref, data) {
      console.log(`comms.notifyReject(${vref})`);
      notify(vref, { type: 'reject', data });
    },
  });
}

export { setup as buildCommsDispatch };
