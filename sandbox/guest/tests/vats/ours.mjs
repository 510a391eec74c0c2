// The cases in our own world: a module that is evaluated after the prelude, with `runtime` and `print` as globals.
import run from './cases.mjs';
import more from './guards.mjs';

const { runtime, print } = globalThis;
const { packages } = runtime;
const old = { passStyleOf: runtime.passStyleOf2019, makeMarshal: runtime.makeMarshal2019 };
const w = { ...packages['@endo/far'], ...packages['@endo/marshal'], ...packages['@endo/promise-kit'], ...packages['@endo/nat'],
  HandledPromise, Compartment, assert, harden, old, print };
w.more = (tools) => more({ ...w, ...packages['@endo/patterns'], ...packages['@endo/exo'] }, tools);
await run(w);
