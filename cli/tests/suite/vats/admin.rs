//! Vats that are made, upgraded, metered and ended while others run; and garbage in cycles across vats.

use super::{Folder, piped};
use crate::support::{glassbox, run, stderr, stdout};
use expect_test::expect;

const BOOTSTRAP: &str = r#"import { E, Far } from '@endo/far';
export const buildRootObject = () => Far('root', {
  async bootstrap(vats, devices) {
    const service = await E(vats.vatAdmin).createVatAdminService(devices.vatAdmin);
    const bundle = await E(service).getNamedBundleCap('counter');
    const { root, adminNode } = await E(service).createVat(bundle, { vatParameters: { start: 5 }, name: 'c1' });
    console.log('inc', await E(root).inc(), await E(root).inc());
    const obj = await E(root).durable();
    console.log('durable', await E(obj).bump(), await E(obj).bump());
    const never = E(root).never();
    never.catch(e => console.log('never rejected', JSON.stringify(e)));
    const bundle2 = await E(service).getNamedBundleCap('counter2');
    console.log('upgrade', JSON.stringify(await E(adminNode).upgrade(bundle2, { vatParameters: { start: 1 }, upgradeMessage: 'new' })));
    console.log('after', await E(root).inc(), await E(obj).bump(), await E(root).version());
    const bad = await E(service).getNamedBundleCap('bad');
    await E(adminNode).upgrade(bad, {}).then(v => console.log('??', v), e => console.log('upgrade failed:', e.message));
    console.log('still', await E(obj).bump(), await E(root).version());
    const done = E(adminNode).done();
    done.then(v => console.log('done', v), e => console.log('done rejected', e.message));
    await E(adminNode).terminateWithFailure(Error('enough'));
    await E(root).inc().catch(e => console.log('gone:', e.message));
    await done.catch(() => {});
    const meter = await E(service).createMeter(20000n, 1000n);
    const second = await E(service).createVat(bundle, { vatParameters: { start: 0 }, meter });
    try { for (let i = 0; i < 1000; i += 1) await E(second.root).inc(); } catch (e) { console.log('metered:', e.message); }
    await E(second.adminNode).done().catch(e => console.log('metered done:', e.message));
    const leaver = await E(service).createVat(bundle, { vatParameters: { start: 0 } });
    E(leaver.adminNode).done().then(v => console.log('left with', v));
    await E(leaver.root).leave().catch(e => console.log('leave', e.message));
    console.log('end');
  },
});
"#;

const BUNDLE_COUNTER: &str = r#"import { Far } from '@endo/far';
export const buildRootObject = (vatPowers, { start }, baggage) => {
  const { VatData } = vatPowers;
  const handle = VatData.makeKindHandle('thing'); baggage.init('handle', handle);
  const make = VatData.defineDurableKind(handle, () => ({ n: 0 }), { bump: ({ state }) => (state.n += 1, state.n) });
  let n = start;
  return Far('root', { inc: () => (n += 1), durable: () => { const o = make(); baggage.init('o', o); return o; }, never: () => new Promise(() => {}), leave: () => vatPowers.exitVat('bye') });
};
"#;

const BUNDLE_COUNTER2: &str = r#"import { Far } from '@endo/far';
export const buildRootObject = (vatPowers, { start }, baggage) => {
  const make = vatPowers.VatData.defineDurableKind(baggage.get('handle'), () => ({ n: 0 }), { bump: ({ state }) => (state.n += 100, state.n) });
  let n = start;
  return Far('root', { inc: () => (n += 1), version: () => 2 });
};
"#;

const BUNDLE_BAD: &str = r#"import { Far } from '@endo/far';
export const buildRootObject = () => Far('root', {});
"#;

#[test]
fn made_upgraded_metered_and_ended() {
    let folder = Folder::new(&[
        ("bootstrap.js", BOOTSTRAP),
        ("bundle-counter.js", BUNDLE_COUNTER),
        ("bundle-counter2.js", BUNDLE_COUNTER2),
        ("bundle-bad.js", BUNDLE_BAD),
    ]);
    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("kept");
    let output = glassbox().args(["vat", "run"]).arg(folder.path()).arg("--dir").arg(&dir).output().expect("it runs");
    expect![[r#"
        inc 6 7
        durable 1 2
        never rejected {"incarnationNumber":0,"name":"vatUpgraded","upgradeMessage":"new"}
        upgrade {"incarnationNumber":1}
        after 2 102 2
        upgrade failed: vat-upgrade failure: Error: defineDurableKind not called for tags: [thing]
        still 202 2
        done rejected enough
        gone: vat terminated
        metered: vat terminated
        metered done: vatAdminService rejecting attempt to perform "done"() on non-running vat "v7"
        end
        left with bye
        = vat finished
    "#]]
    .assert_eq(&stdout(&output));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = run(&["verify", dir.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

const MAKER: &str = "import { E, Far } from '@endo/far';
export const buildRootObject = () => Far('root', {
  async bootstrap(vats) {
    const pair = async keep => {
      const [a, b] = [await E(vats.a).make(keep), await E(vats.b).make(false)];
      await E(a).set(b);
      await E(b).set(a);
    };
    await pair(true);
    for (let i = 0; i < 2500; i += 1) await pair(false);
    console.log(await E(vats.a).kept());
  },
});
";

const NODES: &str = "import { E, Far } from '@endo/far';
export const buildRootObject = () => {
  const kept = [];
  return Far('root', {
    make(keep) {
      let other;
      const node = Far('node', { set(o) { other = o; }, get: () => other, name: () => 'a node' });
      if (keep) kept.push(node);
      return node;
    },
    kept: () => E(E(kept[0].get()).get()).name(),
  });
};
";

#[test]
fn a_cycle_across_vats_is_collected_unless_somebody_holds_it() {
    let folder = Folder::new(&[("bootstrap.js", MAKER), ("vat-a.js", NODES), ("vat-b.js", NODES)]);
    let mut command = glassbox();
    command.args(["vat", "shell"]).arg(folder.path());
    let output = piped(command, "await run()\n'objects ' + dump2().objects.length\n");
    let said = stdout(&output);
    assert!(said.contains("a node"), "{said}{}", stderr(&output));
    let objects = said.lines().find_map(|line| line.strip_prefix("'objects ")).expect("a number");
    let objects: usize = objects.trim_end_matches('\'').parse().expect("a number");
    // It is looked for now and then: what has come since the last time is still there.
    assert!(objects < 3_000, "{objects} of 5,000 are left");
}

const METERED: &str = r#"import { E, Far } from '@endo/far';
export const buildRootObject = () => Far('root', { async bootstrap(vats, devices) {
  const service = await E(vats.vatAdmin).createVatAdminService(devices.vatAdmin);
  const bundle = await E(service).getNamedBundleCap('worker');
  const meter = await E(service).createMeter(1_000_000n, 900_000n);
  const left = async () => (await E(meter).get()).remaining;
  E(E(meter).getNotifier()).getUpdateSince().then(({ value }) => console.log('crossed at', value === 0n ? 0 : 'more'));
  const make = async options => {
    const { root, adminNode } = await E(service).createVat(bundle, { meter, ...options });
    E(adminNode).done().catch(e => console.log('done:', e.message));
    return root;
  };
  const worker = await make({ reapInterval: 1 });
  let before = await left();
  await E(worker).nothing();
  const one = before - await left();
  before = await left();
  for (let i = 0; i < 10; i += 1) await E(worker).nothing();
  console.log('garbage costs nothing:', before - await left() < 13n * one);
  before = await left();
  await E(worker).pretend().catch(e => console.log(e.message));
  console.log('what is left is left:', before - await left() < 1000n);
  const other = await make();
  before = await left();
  await E(other).spin().catch(e => console.log(e.message));
  console.log('who spins pays:', before - await left() >= 50_000n);
  const last = await make();
  for (;;) {
    const up = await E(last).work().then(() => true, e => console.log(e.message));
    if (!up) break;
  }
  console.log('left', await left());
} });
"#;

const BUNDLE_WORKER: &str = r#"import { Far } from '@endo/far';
export const buildRootObject = ({ exitVatWithFailure }) => Far('root', {
  nothing() {},
  pretend: () => exitVatWithFailure(Error('meter underflow, vat terminated')),
  spin() { for (;;); },
  work() { for (let i = 0; i < 50_000; i += 1); },
});
"#;

/// A meter pays for what was computed, also where nothing came of it; not for garbage, and not because somebody says so.
#[test]
fn what_meters_pay_for() {
    let folder = Folder::new(&[("bootstrap.js", METERED), ("bundle-worker.js", BUNDLE_WORKER)]);
    let output =
        glassbox().args(["vat", "run"]).arg(folder.path()).args(["--instructions", "50000000"]).output().expect("it runs");
    expect![[r#"
        garbage costs nothing: true
        vat terminated
        done: meter underflow, vat terminated
        what is left is left: true
        vat terminated
        done: The crank ran for more than 50000000 instructions
        who spins pays: true
        crossed at more
        vat terminated
        done: meter underflow, vat terminated
        left 0n
        = vat finished
    "#]]
    .assert_eq(&stdout(&output));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
