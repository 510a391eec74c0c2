//! What there is too much of: work without an end, garbage, values, bytes. And what a refused input leaves.

use super::stage::{Stage, install, old, today, with_stack};
use machine::vats::Work;

/// A ledger may say that vats run for ever: an auditor does not.
#[test]
fn vats_without_an_end() {
    with_stack(|| {
        let ping = old("{ ping(me, other) { E(other).ping(other, me); } }");
        let bootstrap = old("{ bootstrap(argv, { ping, pong }) { E(ping).ping(ping, pong); } }");
        let files = [("vat-ping.js", &*ping), ("vat-pong.js", &ping), ("bootstrap.js", &bootstrap)];
        let mut stage = Stage::of(install(&files, &[]));
        let (ran, idle) = stage.cranks(u64::MAX);
        assert!(ran > 1_000 && !idle, "{ran}");
        let (again, idle) = stage.cranks(u64::MAX);
        assert!(again > 1_000 && !idle, "{again}");
        stage.replayed();
    });
}

/// What others let go of is no work that a vat could die of.
#[test]
fn garbage_in_masses() {
    let ends = |sink: &str, send: &str| {
        with_stack(|| {
            let bootstrap =
                today(&format!("{{ async bootstrap({{ sink }}) {{ {send}; console.log('alive', await E(sink).take(0)); }} }}"));
            let mut stage = Stage::of(install(&[("vat-sink.js", sink), ("bootstrap.js", &bootstrap)], &[]));
            assert_eq!(stage.output(), ["alive 0"]);
            stage.machine.as_vats_mut().expect("vats").reap();
            stage.run();
            let objects = stage.dump().objects.len();
            assert!(objects < 10, "{objects} objects are left");
            stage.audit();
        });
    };
    let sink = today("{ take: (n) => n, hold() {} }");
    ends(&sink, "for (let i = 0; i < 600; i++) await E(sink).hold(Array.from({ length: 100 }, () => Far('x', {})))");
    let sink = "import { Far } from '@endo/far';
        const { defineKind } = VatData;
        export const buildRootObject = () => {
          const make = defineKind('thing', (x) => ({ x }), { get: ({ state }) => state.x });
          return Far('root', { take: (n) => n, make(n) { for (let i = 0; i < n; i++) make(i); } });
        };";
    ends(sink, "for (let i = 0; i < 500; i++) await E(sink).make(80)");
}

/// A list whose cells are in two vats by turns has each vat asked once for each cell: the search gives up.
#[test]
fn a_long_way_to_and_fro() {
    with_stack(|| {
        let cells = today("{ make(next) { return Far('cell', { next: () => next }); } }");
        let bootstrap = today(
            "{ async bootstrap(vats) {
               let cell = 0;
               for (let i = 0; i < 2_100; i++) cell = await E(i % 2 ? vats.a : vats.b).make(cell);
               console.log('made', await E(E(E(cell).next()).next()).next() !== undefined);
             } }",
        );
        let mut stage = Stage::of(install(&[("vat-a.js", &cells), ("vat-b.js", &cells), ("bootstrap.js", &bootstrap)], &[]));
        stage.run();
        assert_eq!(stage.console(), ["made true"]);
        stage.audit();
    });
}

/// Who sends more than anybody could read hears so; who says it to the kernel himself ends.
#[test]
fn values_in_masses() {
    with_stack(|| {
        let sink = today("{ take: (all) => all.length }");
        let bootstrap = today(
            "{ async bootstrap({ sink }) {
               const values = [[[], 24_900], [{}, 24_900], [1, 49_900], ['x,[{', 49_900], [-1n, 49_900]];
               for (const [value, most] of values) {
                 for (const times of [most, most + 200]) {
                   // A crank for each.
                   await E(sink).take([]);
                   await E(sink).take(Array.from({ length: times }, () => value))
                     .then((length) => console.log('took', length > 1_000), (error) => console.log(error.message));
                 }
               }
               for (const digits of [4_000, 6_000]) {
                 await E(sink).take([BigInt('9'.repeat(digits))]).then((length) => console.log(length), (error) => console.log(error.message));
               }
               console.log(await E(sink).take('+'.repeat(6_000)), await E(sink).take(['\"[,\\\\'.repeat(50_000), '\\\\'.repeat(9_999)]));
             } }",
        );
        let mut stage = Stage::of(install(&[("vat-sink.js", &sink), ("bootstrap.js", &bootstrap)], &[]));
        let pair = ["took true", "syscall capdata too large"];
        let mut expected: Vec<&str> = [pair; 5].concat();
        expected.extend(["1", "syscall capdata too large", "6000 2"]);
        assert_eq!(stage.output(), expected);
    });
}

#[test]
fn bytes_in_masses() {
    with_stack(|| {
        let bad = "export default function setup(syscall) {
             return { deliver(target, method, args) {
               const text = JSON.stringify('\\u0001'.repeat(1_000_000));
               for (let i = 0; i < 100; i++) syscall.send(args.slots[0], 'take', { body: `[${text}]`, slots: [] }, null);
             } };
           }";
        let good = old("{ take() {} }");
        let bootstrap = old("{ bootstrap(argv, { bad, good }) { E(bad).go(good).catch((e) => console.log(`${e}`)); } }");
        let mut stage = Stage::of(install(&[("vat-bad.js", bad), ("vat-good.js", &good), ("bootstrap.js", &bootstrap)], &[]));
        let lines = stage.output();
        assert!(lines[1].contains("one crank asks with more than 67108864 bytes"), "{lines:?}");
        assert_eq!(lines[2..], ["Error: vat terminated"]);
    });
}

/// What a refused input did to a device before it was refused is undone: who goes on from the state has not seen it either.
#[test]
fn a_refused_input_is_no_input() {
    with_stack(|| {
        let bootstrap = today("{ bootstrap() {} }");
        let mut install = install(&[("bootstrap.js", &bootstrap)], &[]);
        install.devices = vec!["timer".into()];
        let mut stage = Stage::of(install);
        stage.run();
        let mail = Work::Mail { peer: "b".into(), messages: Vec::new(), ack: 0, id: None };
        stage.work_at(mail, 5).unwrap_err();
        stage.restart();
        stage.work_at(Work::Run(1), 5).unwrap();
        stage.work_at(Work::Tick, 7).unwrap();
        stage.replayed();
    });
}
