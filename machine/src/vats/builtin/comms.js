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
//   retire:PROMISE[:PROMISE]*;                         these have been resolved, and are spoken of under these names no more
//   retired;                                           neither are they here: the answer to the last `retire`
//
// Who has resolved a promise for a remote may still be sent what that one said before it heard of it. Messages come in order, so
// `retired` says that nothing of this kind is under way any more: only then is the name forgotten on this side, and with the last name
// the promise. There is one `retire` under way at a time, with all that have gathered. To a remote that knows nothing of it, it is one
// unknown command, and no name is forgotten; one that sends none itself keeps its names, and is understood by them.
//
// Invariants:
// - Each promise has one decider at a time: the kernel (a vat of it), a remote, or, within one delivery, this vat.
// - Messages to a promise go to its decider at once; they never wait here.
// - Who is a promise's subscriber hears of its resolution once, unless he decided it himself.
// - A remote can name only what it was sent or has sent, and can resolve only what it decides.
// - An object of one remote that another one is sent is this vat's proxy to it: messages pass through here.
// - Of a message that cannot be sent on, nothing is sent but its result's rejection.
// - What is sent is short enough for the mailbox.
// - A promise is forgotten, here and by the kernel for this vat, when no remote has a name for it, no known resolution speaks of it, and
//   it is resolved or the kernel's. (Those whose resolutions speak of each other stay.) Objects are not forgotten.

const CONTROLLER = 'o+0';
const FIRST_OBJECT = 10; // o+10: receivers and proxies
const FIRST_PROMISE = 20; // p+20
const FIRST_REMOTE_OBJECT = 20; // ro-20
const FIRST_REMOTE_PROMISE = 40; // rp-40
const RETIRE_AT = 16; // promises; so many names of what is resolved wait for the next `retire`
const RETIRE_MOST = 1_000;
const MAX_LENGTH = 1_000_000; // of what a message brings: the mailbox takes 4 MiB, and UTF-8 up to three bytes for each

const KERNEL = harden({ id: 'kernel' });
const UNDEFINED = harden({ body: '{"@qclass":"undefined"}', slots: [] });

const problem = (message, name = 'Error') =>
  harden({ body: JSON.stringify({ '@qclass': 'error', name, message }), slots: [] });
const TOO_LONG = `what is sent to another machine may have ${MAX_LENGTH} characters`;
const MAX_SLOTS = 10_000;
const MAX_VALUES = 50_000;
const MAX_DIGITS = 5_000;
const sendable = method => typeof method === 'string' && !method.includes(':') && !method.includes(';');
const fits = ({ body, slots }) => body.length + 24 * slots.length <= MAX_LENGTH;
const flip = ref => `${ref.slice(0, 2)}${ref[2] === '+' ? '-' : '+'}${ref.slice(3)}`;

// The reference that capdata consists of, if it is nothing but one object.
const onlySlot = ({ body, slots }) => {
  if (slots.length !== 1 || slots[0][0] !== 'o') return undefined;
  return /^(#"\$0(\..*)?"|\{"@qclass":"slot",.*"index":0\})$/.test(body) ? slots[0] : undefined;
};

// What the kernel would end this vat for, if it said so for a peer. The body has been parsed: each string has an end.
const insistModest = (refs, body) => {
  if (refs.length > MAX_SLOTS) throw Error(`more than ${MAX_SLOTS} references in one message`);
  if (body.length <= MAX_DIGITS) return;
  const isSmallcaps = body[0] === '#';
  let values = 0;
  for (let at = 0; at < body.length; ) {
    const c = body[at++];
    if (c === '"') {
      const begin = at;
      for (let isEscaped = true; isEscaped; at += 1) {
        at = body.indexOf('"', at);
        let slashes = 0;
        while (body[at - 1 - slashes] === '\\') slashes += 1;
        isEscaped = slashes % 2 === 1;
      }
      const isNumber = isSmallcaps && (body[begin] === '+' || body[begin] === '-');
      if (isNumber && at - 1 - begin > MAX_DIGITS) throw Error('too many digits in one message');
    } else if (c === ',' || c === '[' || c === '{') {
      values += 1;
      if (values > MAX_VALUES) throw Error(`more than ${MAX_VALUES} values in one message`);
    }
  }
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
 * @param {object} syscall `send`, `subscribe`, `fulfillToData`, `fulfillToPresence`, `reject`, `forgetPromises`
 * @returns {object} dispatch
 */
export default function setup(syscall) {
  const remotes = new Map(); // name -> remote
  const receivers = new Map(); // o+N, to which vattp brings a remote's messages -> remote
  const proxies = new Map(); // o+N -> the remote that has the object
  // p±N -> { decider, subscribers, subscribed: we hear of it from the kernel, known: the kernel has a name for it, resolution, resolver:
  //   as `decider`, refs: remotes' names for it, and resolutions that speak of it }
  const promises = new Map();
  const loose = new Set(); // p±N to which perhaps nothing refers any more
  const settled = new Set(); // p±N, results that we have resolved and do not track
  const due = new Set(); // remotes to which a `retire` may be sent
  let tidies = false; // at the end of this delivery
  let nextObject = FIRST_OBJECT;
  let nextPromise = FIRST_PROMISE;

  const newObject = () => {
    nextObject += 1;
    return `o+${nextObject - 1}`;
  };

  // The demo of 2019 is used to hear of promises.
  let isOld = false;
  const say = line => {
    if (isOld) console.log(line);
  };

  const track = (vref, decider, known) => {
    const promise = { decider, subscribers: new Set(), subscribed: false, known, resolution: undefined, resolver: undefined, refs: 0 };
    promises.set(vref, promise);
    loose.add(vref);
    return promise;
  };

  // What the kernel names is the kernel's, until it hands us its decision.
  const promiseOf = vref => promises.get(vref) || track(vref, KERNEL, true);

  const listen = (vref, promise) => {
    if (promise.subscribed || promise.decider !== KERNEL) return;
    promise.subscribed = true;
    syscall.subscribe(vref);
  };

  // ── what is forgotten ──

  const refer = vref => {
    if (vref[0] === 'p') promiseOf(vref).refs += 1;
  };

  const release = vref => {
    const promise = vref[0] === 'p' && promises.get(vref);
    if (!promise) return;
    promise.refs -= 1;
    loose.add(vref);
  };

  const mentioned = (vref, { type, slot, data }) => (type === 'object' ? [slot] : data.slots).filter(other => other !== vref);

  // The names of a promise that a remote and we have for each other.
  const link = (remote, vref, ref) => {
    remote.toWire.set(vref, ref);
    remote.fromWire.set(flip(ref), vref);
    refer(vref);
  };

  // `ref` as it arrives from `remote`.
  const unlink = (remote, ref) => {
    const vref = remote.fromWire.get(ref);
    if (vref === undefined) return;
    remote.fromWire.delete(ref);
    if (remote.toWire.get(vref) === flip(ref)) remote.toWire.delete(vref);
    release(vref);
  };

  // At the end of each delivery of the kernel's, which may be several notifications that speak of each other.
  const tidy = () => {
    tidies = false;
    for (const remote of due) {
      if (remote.retiring || remote.resolved.length < RETIRE_AT) continue;
      remote.retiring = remote.resolved.splice(0, RETIRE_MOST);
      for (const ref of remote.retiring) {
        const vref = remote.fromWire.get(ref);
        if (remote.toWire.get(vref) === flip(ref)) remote.toWire.delete(vref);
      }
      transmit(remote, `retire:${remote.retiring.map(flip).join(':')};`);
    }
    due.clear();
    // Of those that are tracked we hear from the kernel, too.
    const forgotten = [...settled].filter(vref => !promises.has(vref));
    settled.clear();
    // It grows meanwhile.
    for (const vref of loose) {
      loose.delete(vref);
      const promise = promises.get(vref);
      if (!promise || promise.refs > 0 || !(promise.resolution || promise.decider === KERNEL)) continue;
      promises.delete(vref);
      if (promise.known) forgotten.push(vref);
      if (promise.resolution) mentioned(vref, promise.resolution).forEach(release);
    }
    if (forgotten.length > 0) syscall.forgetPromises(forgotten);
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
    link(remote, vref, ref);
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
      link(remote, vref, ref);
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
      say(`inbound promise ${ref} mapped to ${vref}`);
    }
    link(remote, vref, flip(ref));
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
    remote.resolved.push(flip(ref));
    due.add(remote);
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
    promise.resolver = from;
    promise.decider = undefined;
    promise.subscribers = undefined;
    mentioned(vref, resolution).forEach(refer);
    loose.add(vref);
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
    if (command === 'retire') {
      // Only what it has resolved itself: what we have is for us to retire.
      for (const ref of words) {
        if (promises.get(known(remote, ref))?.resolver !== remote) throw Error(`${ref} was not resolved by ${remote.id}`);
      }
      for (const ref of words) unlink(remote, ref);
      return transmit(remote, 'retired;');
    }
    if (command === 'retired') {
      if (!remote.retiring) throw Error('nothing is to be retired');
      for (const ref of remote.retiring) unlink(remote, ref);
      remote.retiring = undefined;
      due.add(remote);
      return undefined;
    }
    if (command !== 'deliver' && command !== 'resolve') throw Error(`unrecognized command ${command.slice(0, 80)}`);
    if (words[0] !== 'object') JSON.parse(body[0] === '#' ? body.slice(1) : body); // malformed bodies go no further
    if (command === 'deliver') {
      const [to, method, answer, ...refs] = words;
      if (answer === undefined) throw Error('too few words in deliver');
      insistModest(refs, body);
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
        insistModest(refs, body);
        if (type === 'data' && refs.length === 1 && refs[0][1] === 'p' && /^#"|^\{"@qclass":"slot"/.test(body)) {
          throw Error(`${vref} cannot become a promise`);
        }
        const data = harden({ body, slots: refs.map(ref => inbound(remote, ref)) });
        settle(vref, harden({ type, data }), remote);
      } else {
        throw Error(`unknown resolution type ${type}`);
      }
    }
    return undefined;
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
        resolved: [], // rp±N as they arrive: what we have resolved for it, and have not retired yet
        retiring: undefined, // those that the `retire` has that is under way
      };
      if (setReceiver) isOld = true;
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
      link(remote, vref, flip(ref));
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
    if (result) settled.add(result);
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
    if (result) settled.add(result);
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

  // `slots` are what the kernel speaks of.
  const begin = slots => {
    for (const vref of slots) if (vref[0] === 'p') promiseOf(vref);
    if (!tidies) Promise.resolve().then(tidy);
    tidies = true;
  };

  return harden({
    deliver(target, method, args, result) {
      begin(args.slots);
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
      say(`comms.notifyFulfillToData(${vref})`);
      begin(data.slots);
      notify(vref, { type: 'data', data });
    },
    notifyFulfillToPresence(vref, slot) {
      say(`comms.notifyFulfillToPresence(${vref}) = ${slot}`);
      begin([]);
      notify(vref, { type: 'object', slot });
    },
    notifyReject(vref, data) {
      say(`comms.notifyReject(${vref})`);
      begin(data.slots);
      notify(vref, { type: 'reject', data });
    },
  });
}

export { setup as buildCommsDispatch };
