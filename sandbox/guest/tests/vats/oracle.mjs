// The cases under Endo's packages, and for the dialect of 2019 under @agoric/marshal: `node oracle.mjs DIR`, where
// DIR/node_modules has what endo/package.json asks for.
import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

process.env.ONLY_WELL_FORMED_STRINGS_PASSABLE = 'enabled';
const dir = resolve(process.argv[2] ?? '.');
const require = createRequire(join(dir, 'x.js'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const print = (line) => process.stdout.write(`${line}\n`);
process.on('unhandledRejection', () => {});

await load('ses');
await load('@endo/eventual-send/shim.js');
lockdown({ errorTaming: 'unsafe', overrideTaming: 'severe', consoleTaming: 'unsafe' });
const [far, marshal, promiseKit, nat, patterns, exo] = [await load('@endo/far'), await load('@endo/marshal'), await load('@endo/promise-kit'),
  await load('@endo/nat'), await load('@endo/patterns'), await load('@endo/exo')];

// Its slots are ours: `serializeSlot` and `unserializeSlot` of 2019 did the numbering, too.
async function of2019() {
  const home = mkdtempSync(join(tmpdir(), 'marshal2019-'));
  writeFileSync(join(home, 'marshal.mjs'), readFileSync(join(dir, 'node_modules/@agoric/marshal/marshal.js'), 'utf8')
    .replace(/^import harden.*$/m, 'const harden = globalThis.harden;')
    .replace(/^import Nat.*$/m, "const Nat = (n) => { if (!Number.isSafeInteger(n)) throw new RangeError('not a safe integer'); if (n < 0) throw new RangeError('negative'); return n; };"));
  const it = await import(pathToFileURL(join(home, 'marshal.mjs')).href);
  rmSync(home, { recursive: true });
  return {
    passStyleOf: it.passStyleOf,
    makeMarshal: (toSlot, toValue) => it.makeMarshal(
      (value, slots, slotMap) => {
        if (!slotMap.has(value)) {
          slotMap.set(value, slots.length);
          slots.push(toSlot(value));
        }
        return harden({ '@qclass': 'slot', index: slotMap.get(value) });
      },
      (data, slots) => toValue(slots[data.index]),
    ),
  };
}

const { default: run } = await import('./cases.mjs');
const { default: more } = await import('./guards.mjs');
const w = { ...far, ...marshal, ...promiseKit, ...nat, HandledPromise, Compartment, assert, harden, old: await of2019(), print };
w.more = (tools) => more({ ...w, ...patterns, ...exo }, tools);
await run(w);
