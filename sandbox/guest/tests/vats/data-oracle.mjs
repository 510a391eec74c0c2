// The scenarios of data.js under Agoric's liveslots: `node --expose-gc --single-threaded data-oracle.mjs DIR`, where
// DIR/node_modules has what endo/package.json asks for.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

process.env.ONLY_WELL_FORMED_STRINGS_PASSABLE = 'enabled';
const dir = resolve(process.argv[2] ?? '.');
const require = createRequire(join(dir, 'x.js'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const file = (name) => import(pathToFileURL(join(dir, 'node_modules', name)).href);
const print = (line) => process.stdout.write(`${line}\n`);
process.on('unhandledRejection', () => {});
const { WeakRef, FinalizationRegistry, gc } = globalThis;

await load('ses');
await load('@endo/eventual-send/shim.js');
lockdown({ errorTaming: 'unsafe', overrideTaming: 'severe', consoleTaming: 'unsafe', domainTaming: 'unsafe' });
const { makeLiveSlots } = await file('@agoric/swingset-liveslots/src/liveslots.js');
const { E, Far } = await load('@endo/far');
const { M } = await load('@endo/patterns');
const { makeExoUtils } = await file('@agoric/vat-data/src/exo-utils.js');
const { makeStoreUtils, provide } = await file('@agoric/vat-data/src/vat-data-bindings.js');
new Function(readFileSync(new URL('./data.js', import.meta.url), 'utf8'))();
const { SCENARIOS, makeStore, show } = globalThis.DATA;

const tick = () => new Promise((done) => setImmediate(done));
const quiet = async () => { for (let i = 0; i < 3; i++) await tick(); };
// Finalizers are tasks of their own, which come when the engine likes.
async function gcAndFinalize() {
  for (let i = 0; i < 4; i++) {
    await quiet();
    gc();
    await new Promise((done) => setTimeout(done, 1));
  }
}
const meterControl = { assertNotMetered() {}, assertIsMetered() {}, runWithoutMetering: (f, ...a) => f(...a), runWithoutMeteringAsync: (f, ...a) => Promise.resolve(f(...a)), unmetered: (f) => f };
const list = (slots) => slots.join(',');

for (const { name, source, deliveries } of SCENARIOS) {
  print(`\n== ${name}`);
  const store = makeStore();
  const say = (what, text) => print(`    ${what}(${show(text)})`);
  const syscall = harden({
    send: (target, { body, slots }, result) => say('send', `${target}\n2\n${result ?? ''}\n${list(slots)}\n\n${body}`),
    resolve: (all) => say('resolve', JSON.stringify(all.map(([vpid, rejected, { body, slots }]) => [vpid, rejected, body, slots]))),
    subscribe: (vpid) => say('subscribe', vpid),
    exit: (failure, { body, slots }) => say('exit', `${failure ? 1 : 0}\n${list(slots)}\n${body}`),
    dropImports: (all) => say('gc', `dropImports\n${list(all)}`), retireImports: (all) => say('gc', `retireImports\n${list(all)}`), retireExports: (all) => say('gc', `retireExports\n${list(all)}`),
    vatstoreGet: store.get, vatstoreSet: store.set, vatstoreDelete: store.delete, vatstoreGetNextKey: store.next,
  });
  let dispatch;
  async function deliver(delivery, shown) {
    print(`  ${delivery[0]}(${shown})`);
    let outcome;
    await dispatch(delivery).then(() => {}, (error) => { outcome = error.name === undefined ? `${error}` : `${error.name}: ${error.message}`; });
    if (delivery[0] === 'stopVat') return;
    for (const line of store.changes()) print(line);
    if (outcome !== undefined) print(`  = ${outcome}`);
  }
  async function start(text) {
    const gcTools = { WeakRef, FinalizationRegistry, waitUntilQuiescent: quiet, gcAndFinalize, meterControl };
    const logger = { ...console, log() {}, warn() {}, error() {}, info() {}, debug() {} };
    const made = makeLiveSlots(syscall, 'v1', { testLog: (line) => say('log', line) }, {}, gcTools, logger, (globals, more) => {
      const vatData = { ...globals.VatData, ...makeExoUtils(globals.VatData), ...makeStoreUtils(globals.VatData), provide };
      const compartment = new Compartment({ E, Far, M, harden, console: logger, vatData, ...globals, ...more });
      return compartment.evaluate(`(() => { ${text.replace('export const', 'const')} ; return { buildRootObject } })()`);
    });
    ({ dispatch } = made);
    await deliver(['startVat', { body: '#"#undefined"', slots: [] }], '');
  }
  const split = (slots) => (slots === '' ? [] : slots.split(','));
  await start(source);
  for (const [kind, ...fields] of deliveries) {
    const shown = fields.map(show).join(' ; ');
    if (kind === 'upgrade') await start(fields[0]);
    else if (kind === 'message') await deliver(['message', fields[0], { methargs: { body: fields[3], slots: split(fields[4]) }, result: fields[5] || null }], shown);
    else if (kind === 'notify') await deliver(['notify', [[fields[0], fields[1] === '1', { body: fields[2], slots: split(fields[3]) }]]], shown);
    else if (kind === 'bringOutYourDead') await deliver([kind], '');
    else if (kind === 'stopVat') await deliver([kind, { body: fields[0], slots: [] }], shown);
    else await deliver([kind, fields], shown);
  }
}
process.exit(0);
