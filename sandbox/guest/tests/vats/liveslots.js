// Plays the kernel to realms of vats, and prints what goes to and fro.
'use strict';

const OPS = { 70: 'send', 71: 'resolve', 72: 'subscribe', 73: 'callNow', 74: 'exit', 75: 'get', 76: 'set', 77: 'delete', 78: 'next', 79: 'gc', 80: 'log', 1: 'console' };
const show = (text) => text.replaceAll('\n', ' | ');
let modules = 0;

// A vat of this source, started. `answers` says what the kernel answers to a syscall, by name.
function vat(title, source, { params = '#"#undefined"', slots = '', answers = {} } = {}) {
  native.print(`\n== ${title}`);
  const module = `/vat-${++modules}.js`;
  native.source(module, source);
  const entry = native.boot((op, text, data) => {
    const name = OPS[op] ?? op;
    native.print(`    ${name}(${show(text)}${data === undefined ? '' : `, ${data}`})`);
    return answers[name]?.(text);
  });
  const self = {
    deliver(kind, ...fields) {
      native.print(`  ${kind}(${fields.map(show).join(' ; ')})`);
      let outcome = 'pending: never settles';
      try {
        const value = entry.deliver(kind, fields);
        if (value !== undefined && typeof value.then === 'function') {
          value.then((it) => { outcome = it; }, (error) => { outcome = entry.describe(error).slice(0, 2).join(': '); });
        } else {
          outcome = value;
        }
      } catch (error) {
        outcome = entry.describe(error).slice(0, 2).join(': ');
      }
      native.runJobs();
      if (outcome !== undefined) native.print(`  = ${outcome}`);
      return self;
    },
    // As the two dialects send.
    old: (target, method, args, slots = '', result = '') => self.deliver('message', target, '1', method, args, slots, result),
    now: (target, methargs, slots = '', result = '') => self.deliver('message', target, '2', '', methargs, slots, result),
    notify: (...fields) => self.deliver('notify', ...fields),
  };
  return self.deliver('startVat', JSON.stringify({ name: 'bob', vatID: 'v1', module, upgrade: false }), params, slots);
}

const oldVat = (title, body, options) => vat(title, `export default function setup(syscall, state, helpers) {
  return helpers.makeLiveSlots(syscall, state, (E, D) => { const log = helpers.log; ${body} }, helpers.vatID);
}`, options);
const newVat = (title, body, options) => vat(title, `const { E, Far } = globalThis;
export const buildRootObject = (vatPowers, vatParameters, baggage) => { const log = vatPowers.testLog; ${body} };`, options);

// ---- starting ----

vat('no entry', 'export const other = 1;');
vat('setup is no function', 'export default 5;');
vat('setup without dispatch', 'export default () => ({})');
vat('setup returns nothing', 'export default () => {}');
vat('does not parse', 'export default (');
vat('throws at load', 'throw new TypeError("early")');
vat('root is data', 'export const buildRootObject = () => harden({ a: 1 });');
vat('root is not far', 'export const buildRootObject = () => harden({ f() {} });');
vat('root never comes', 'export const buildRootObject = () => new Promise(() => {});');
vat('root rejects', 'export const buildRootObject = () => Promise.reject(Error("no root"));');
vat('the form of 2019 by its E', 'export function buildRootObject(E) { return harden({ f() { return 1; } }); }').old('o+0', 'f', '[]', '', 'p-60');
vat('E as an arrow', 'export const buildRootObject = /* a comment (x) */ E => harden({});');
vat('E behind another', 'export const buildRootObject = (D, E) => harden({});');
vat('2019: data in the root', 'export function buildRootObject(E) { return harden({ f() {}, a: 1 }); }');
vat('2019: root not frozen', 'export function buildRootObject(E) { return { f() {} }; }');
vat('2019: the root is an array', 'export function buildRootObject(E) { return harden([]); }');
vat('setup and buildRootObject', 'export default () => ({ deliver() {} }); export const buildRootObject = () => 1;');
vat('helpers', `export default (syscall, state, helpers) => {
  helpers.log('plain', 1, { a: '0123456789012345678901234567890123456789', b: 2n });
  helpers.log(Object.keys(syscall).join(), ' ', Object.keys(helpers).join(), ' ', helpers.vatID);
  try { state.activate(); } catch (error) { helpers.log(error.message); }
  return { deliver() {} };
}`);
newVat('parameters and powers', 'log(Object.keys(vatPowers)); log(vatParameters.n); E(vatParameters.x).hi(); return Promise.resolve(Far("root", {}));',
  { params: '#{"n":3,"x":"$0.Alleged: thing"}', slots: 'o-50' });

// ---- messages ----

const methods = `
  let kept;
  const other = REMOTABLE({ ping() { return 'pong'; } });
  const root = REMOTABLE({
    nothing() {}, number() { return 7; }, text(a) { return a; }, record() { return { a: [1, 'x'], b: null }; },
    async later(x) { await null; return x; },
    fails() { throw new RangeError('too far'); }, async rejects() { throw new TypeError('no'); }, text2() { throw 'just a string'; },
    getOther() { return other; }, same(x) { return x === other; }, keep(x) { kept = x; return x === kept; }, isKept(x) { return x === kept; }, print() { return String(kept); },
    bad() { return new Map(); }, many() { return arguments.length; }, self() { return this === root; },
    send(x) { E(x).hello(1, 'two', other); return 3; },
    async ask(x) { return 'answer: ' + await E(x).question(); },
    forward(x) { return E(x).question(); },
    pipeline(x) { E(E(E(x).openDB()).select('c')).modify(5); },
    listen(x) { E(x).a().then((v) => log('got ' + v), (e) => log('lost ' + e)); },
    thenable() { return { then(ok) { ok(5); } }; },
    promise() { return harden({ p: Promise.resolve(4), q: new Promise(() => {}) }); },
    exportPromise(x) { let done; const p = new Promise((ok) => { done = ok; }); E(x).take(p); kept = { p, done }; },
    settlePromise(v) { kept.done(v); }, sendAgain(x) { E(x).take(kept.p); }, samePromise(p) { return p === kept.p; },
    samePromiseTwice(p, q) { return p === q; },
    only(x) { const r = E.sendOnly(x).m(1); log(typeof r); },
    call(x) { return E(x)(1, 2); },
    getProperty(x) { return E.get(x).prop; },
    nested(x) { return E(other).ping(); },
    selfSend() { return E(root).number(); },
    name: undefined,
  });
  return root;`.replace('    name: undefined,\n', '');
const plain = methods.replaceAll('REMOTABLE(', 'harden(').replaceAll('Map', 'Map');
const far = methods.replaceAll('REMOTABLE(', "Far('thing', ");

for (const [dialect, start, body] of [['2019', oldVat, plain], ['today', newVat, far]]) {
  const bob = start(`${dialect}: messages`, body);
  let n = 60;
  const call = (method, args = '[]', slots = '') => bob.old('o+0', method, args, slots, `p-${n++}`);
  call('nothing'); call('number'); call('text', '["#x"]'); call('record'); call('later', '[5]');
  call('fails'); call('rejects'); call('text2'); call('bad'); call('many', '[1,2,3]'); call('self'); call('thenable');
  call('nope'); call('__getMethodNames__'); call('toString');
  bob.now('o+0', '#["text",["!#x"]]', '', `p-${n++}`).now('o+0', '#["many",[1,"+5","#undefined"]]', '', `p-${n++}`).now('o+0', '#["nope",[]]', '', `p-${n++}`);
  bob.now('o+0', '#["#undefined",[1]]', '', `p-${n++}`).now('o+0', '#["%foo",[1]]', '', `p-${n++}`);
  bob.old('o+0', 'fails', '[]').old('o+0', 'number', '[]').old('o+0', 'number', '{"bad', '', `p-${n++}`);

  native.print('-- identity');
  call('getOther'); call('getOther'); call('same', '[{"@qclass":"slot","index":0}]', dialect === '2019' ? 'o+1' : 'o+10');
  call('keep', '[{"@qclass":"slot","index":0}]', 'o-51'); call('isKept', '[{"@qclass":"slot","index":0}]', 'o-51'); call('print');
  bob.now('o+0', '#["isKept",["$0.Alleged: foo"]]', 'o-51', `p-${n++}`).now('o+0', '#["isKept",["$0.Alleged: foo"]]', 'o-52', `p-${n++}`);
  bob.now('o+0', '#["keep",["$0.Alleged: foo"]]', 'o-53', `p-${n++}`); call('print');
  call('keep', '[{"@qclass":"slot","index":0}]', 'd-70'); call('print'); call('nope', '[{"@qclass":"slot","index":0}]', 'o+99');

  native.print('-- sends');
  const slot = '[{"@qclass":"slot","index":0}]';
  call('send', slot, 'o-51'); call('ask', slot, 'o-51');
  bob.notify('p+6', '0', '"yes"', '').notify('p+5', '0', '#"#undefined"', '');
  call('forward', slot, 'o-51'); bob.old('p-' + (n - 1), 'more', '[1]', '', `p-${n++}`); bob.notify('p+7', '0', slot.slice(1, -1), 'o-51');
  call('pipeline', slot, 'o-51'); bob.notify('p+9', '0', slot.slice(1, -1), 'o-54');
  call('listen', slot, 'o-51'); bob.notify('p+12', '1', '{"@qclass":"error","name":"TypeError","message":"gone"}', '');
  call('listen', slot, 'o-51'); bob.notify('p+13', '0', '#"$0.Alleged: it"', 'o-55').notify('p+13', '0', '5', '');
  call('call', slot, 'o-51'); call('getProperty', slot, 'o-51'); call('nested'); call('selfSend');

  native.print('-- promises');
  call('promise');
  call('exportPromise', slot, 'o-51'); call('settlePromise', '[[1]]'); call('sendAgain', slot, 'o-51');
  call('exportPromise', slot, 'o-51'); call('samePromise', slot, dialect === '2019' ? 'p+20' : 'p+21'); call('settlePromise', slot, 'p-200');
  bob.old('p-200', 'never', '[]');
  bob.notify('p-200', '1', '"broken"', '');
  call('samePromiseTwice', '[{"@qclass":"slot","index":0},{"@qclass":"slot","index":1}]', 'p-201,p-201');
  bob.notify('p-201', '0', '{"x":{"@qclass":"slot","index":0},"y":{"@qclass":"slot","index":1}}', 'p-202,p-203', 'p-202', '0', '{"x":{"@qclass":"slot","index":0}}', 'p-201');
  bob.old('o+0', 'number', '[]', '', 'p-203');
  call('ask', slot, 'p-204'); call('keep', slot, 'p-205'); bob.old('o+0', 'later', '[9]', '', 'p-205');
  call('only', slot, 'o-51');
  call('listen', slot, 'o-51'); bob.notify(dialect === '2019' ? 'p+24' : 'p+25', '0', '{"@qclass":"what"}', '');
}

// ---- devices, exit, failures ----

const powers = `
  const root = REMOTABLE({
    device(d) { log(D(d).read('a', 1)); log(D(d).none === undefined); const r = D(d).write(root); log(r.node === d); },
    promise(d) { try { D(d).x(Promise.resolve(1)); } catch (e) { log(e.message); } },
    twice(d) { try { D(D(d)); } catch (e) { log(e.message); } },
    none(x) { for (const it of [x, root, {}, 5, undefined]) { try { D(it); } catch (e) { log(e.message); } } },
    eventual(d) { return E(d).read(); },
    broken(d) { D(d).broken(); },
    tooLarge() { return 'x'.repeat(10_000_000); },
    sendTooLarge(x) { return E(x).take('x'.repeat(10_000_000)); },
    cannot(x) { return E(x).take(REMOTABLE({ f() {} }), Symbol('x')); },
    resolveToBad(x) { E(x).take(Promise.resolve(Symbol('x')), Promise.reject(Symbol('y'))); },
    circular(x) { const p = Promise.resolve().then(() => harden({ q })); const q = Promise.resolve().then(() => harden({ p })); E(x).take(p); },
    async circularAgain(x) { const p = Promise.resolve().then(() => harden({ q })); const q = Promise.resolve().then(() => harden({ p })); E(x).take(p, q); await q; await E(x).wait(); E(x).take(p); },
  });
  return root;`;
const callNow = (text) => (text.includes('"broken"') ? ['Error', 'syscall.callNow failed'] : text.includes('"write"') ? 'd-70\n{"node":{"@qclass":"slot","index":0}}' : '\n[1,2]');
for (const [dialect, start, body] of [['2019', oldVat, powers.replaceAll('REMOTABLE(', 'harden(')], ['today', newVat, `const { D } = vatPowers; ${powers.replaceAll('REMOTABLE(', "Far('thing', ")}`]]) {
  const bob = start(`${dialect}: devices and failures`, body, { answers: { callNow } });
  let n = 60;
  const call = (method, args, slots) => bob.old('o+0', method, args, slots, `p-${n++}`);
  const slot = '[{"@qclass":"slot","index":0}]';
  for (const method of ['device', 'promise', 'twice']) call(method, slot, 'd-70');
  call('none', slot, 'o-50'); call('eventual', slot, 'd-70'); call('broken', slot, 'd-70');
  const { print } = native;
  native.print = (line) => print(line.length > 300 ? `${line.slice(0, 300)}... ${line.length}` : line);
  call('tooLarge', '[]', ''); call('sendTooLarge', slot, 'o-50');
  call('cannot', slot, 'o-50'); call('resolveToBad', slot, 'o-50'); call('circular', slot, 'o-50');
  call('circularAgain', slot, 'o-50'); bob.notify('p+17', '0', '1', '');
  native.print = print;
}
newVat('exit', 'return Far("root", { exit(x) { vatPowers.exitVat(x); }, fail(x) { vatPowers.exitVatWithFailure(x); }, bad() { vatPowers.exitVat(Symbol("x")); } });')
  .old('o+0', 'exit', '[{"@qclass":"slot","index":0}]', 'o-50', 'p-60').old('o+0', 'fail', '[{"@qclass":"error","name":"RangeError","message":"far"}]', '', 'p-61').old('o+0', 'bad', '[]', '', 'p-62');
newVat('refused syscall', 'return Far("root", { go(x) { return E(x).hello(); } });', { answers: { send: () => ['Error', 'syscall translation error: prepare to die'] } })
  .old('o+0', 'go', '[{"@qclass":"slot","index":0}]', 'o-50', 'p-60');

// ---- garbage ----

const garbage = `
  let kept = []; const made = [];
  const make = () => REMOTABLE({ ping() { return 'pong'; } });
  return REMOTABLE({
    take() {}, keep(x) { kept.push(x); }, drop() { kept = []; }, same(x) { return x === kept[0]; },
    give() { return make(); }, giveKept() { const it = make(); kept.push(it); return it; }, giveAgain() { return kept[0]; },
    cycle(x) { const a = { x }; a.a = a; }, send(x) { E(x).hello().then((y) => { kept.push(y); }); }, failing() { return [make(), Symbol('x')]; },
  });`;
for (const [dialect, start, body] of [['2019', oldVat, garbage.replaceAll('REMOTABLE(', 'harden(')], ['today', newVat, garbage.replaceAll('REMOTABLE(', "Far('thing', ")]]) {
  const bob = start(`${dialect}: garbage`, body);
  const first = dialect === '2019' ? 1 : 10;
  let n = 60;
  const call = (method, args = '[]', slots = '') => bob.old('o+0', method, args, slots, `p-${n++}`);
  const slot = '[{"@qclass":"slot","index":0}]';
  bob.deliver('bringOutYourDead');
  call('take', slot, 'o-50'); call('take', slot, 'o-9'); call('take', slot, 'o-100'); call('cycle', slot, 'o-51'); call('keep', slot, 'o-52');
  bob.deliver('bringOutYourDead').deliver('bringOutYourDead');
  call('take', slot, 'o-50'); call('take', slot, 'o-52'); call('same', slot, 'o-52'); call('take', slot, 'd-70');
  call('send', slot, 'o-53'); bob.deliver('bringOutYourDead').notify('p+5', '0', '{"@qclass":"slot","index":0}', 'o-54').deliver('bringOutYourDead');
  call('drop'); bob.deliver('bringOutYourDead');
  native.print('-- exports');
  call('give'); bob.deliver('bringOutYourDead').deliver('dropExports', `o+${first}`).deliver('bringOutYourDead').deliver('bringOutYourDead');
  call('giveKept'); bob.deliver('dropExports', `o+${first + 1}`).deliver('bringOutYourDead');
  call('giveAgain'); call('drop'); bob.deliver('bringOutYourDead').old(`o+${first + 1}`, 'ping', '[]', '', 'p-90');
  bob.deliver('dropExports', `o+${first + 1}`).deliver('retireExports', `o+${first + 1}`).deliver('bringOutYourDead');
  call('failing'); bob.deliver('bringOutYourDead').deliver('retireImports', 'o-52').deliver('dropExports', 'o+0').deliver('bringOutYourDead');
  bob.deliver('stopVat', '#"#undefined"', '');
}

// ---- the protocol of 2019 ----

const slot = '[{"@qclass":"slot","index":0}]';
vat('raw', `export default function setup(syscall, _state, { log }) {
  return {
    deliver(target, method, args, result) {
      log('deliver ', target, ' ', method, ' ', args, ' ', result, ' ', Object.isFrozen(args.slots));
      if (method === 'bad') syscall.send('o-50', 5, args);
      if (method === 'call') log(syscall.callNow('d-70', 'read', { body: '[1]', slots: [] }));
      syscall.send('o-50', 'hello', { body: '[1]', slots: ['p+7'] }, 'p+5'); syscall.send('o-50', 'hello', { body: '[]', slots: [] });
      syscall.subscribe('p+5');
      syscall.fulfillToData('p+7', { body: '1', slots: [] }); syscall.fulfillToPresence('p+8', 'o+1'); syscall.reject('p+9', { body: '"no"', slots: [] });
    },
    notifyFulfillToData(vpid, data) { log('data ', vpid, ' ', data); },
    notifyFulfillToPresence(vpid, slot) { log('presence ', vpid, ' ', slot); },
    notifyReject(vpid, data) { log('reject ', vpid, ' ', data); },
    dropExports(vrefs) { log('drop ', vrefs); },
  };
}`, { answers: { callNow: () => 'o-51\n{"@qclass":"slot","index":0}' } })
  .old('o+0', 'foo', slot, 'o-50', 'p-60').now('p-60', '#["!-foo",["!x","$0.Alleged: it"]]', 'o-50').now('o+0', '#["%sym",[]]', '', 'p-61').old('o+0', 'bad', '[]').old('o+0', 'call', '[]')
  .notify('p+5', '0', '{"@qclass":"slot","index":0}', 'o-51', 'p+6', '0', '#"$0.Alleged: it"', 'o-51', 'p+8', '0', '#"$0"', 'o-51', 'p+9', '0', '[1]', '', 'p+10', '1', '{"@qclass":"slot","index":0}', 'o-52', 'p+11', '0', '{"@qclass":"slot","index":0}', 'p-60')
  .deliver('dropExports', 'o+1', 'o+2').deliver('retireImports', 'o-51').deliver('bringOutYourDead');

vat('liveslots behind a syscall object of the vat', `export default function setup(syscall, state, helpers) {
  const { log } = helpers;
  const mine = harden({ ...syscall, send(...args) { log('send ', args); syscall.send(...args); }, fulfillToPresence(...args) { log('presence ', args); syscall.fulfillToPresence(...args); } });
  const live = helpers.makeLiveSlots(mine, state, (E) => harden({ ask(x) { return E(x).question(harden({ get() {} })); }, p(x) { E(x).take(Promise.resolve(4)); } }), helpers.vatID);
  return { ...live, deliver(...args) { log('deliver ', args); live.deliver(...args); } };
}`).old('o+0', 'ask', slot, 'o-50', 'p-60').notify('p+5', '0', '{"@qclass":"slot","index":0}', 'o-51').old('o+0', 'p', slot, 'o-50', 'p-61').old('o+0', 'p', slot, 'p+5', 'p-62').notify('p+5', '0', '5', '');
