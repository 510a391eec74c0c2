//! Where a transaction ends, whether the machine was killed in between, and who runs it again: nothing of that shows.

use super::stage::{Stage, image, old, today, with_stack};
use super::tables::encouragement;

/// Pipelines, garbage, promises in messages, an error, a vat that ends, both dialects.
fn busy() -> Stage {
    let alice = old(
        "{ echo(x) { return x; }, kit() { let go; const promise = new Promise((r) => { go = r; }); log.go = go; return harden([promise]); },
           settle(x) { log.go(x); return 'settled'; }, fail() { throw TypeError('no'); },
           chain(to, n) { return n === 0 ? harden({ last() { return 'end'; } }) : E(to).chain(to, n - 1); } }",
    );
    let bob = today(
        "{ take(p) { E.when(p, (x) => log('bob has', typeof x)); return 'taken'; }, chain(to, n) { return E(to).chain(to, n); },
           leave() { vatPowers.exitVat('enough'); return 'gone'; }, make() { return Far('thing', { use() { return 7; } }); } }",
    );
    let bootstrap = today(
        "{ async bootstrap({ alice, bob, bootstrap }) {
          const [promise] = await E(alice).kit();
          log(await E(bob).take(promise));
          E(promise).m().catch((e) => log('early', e.name));
          const thing = E(bob).make();
          log(await E(alice).settle(thing), await E(thing).use());
          log(await E(E(bob).chain(alice, 5)).last());
          await E(alice).fail().catch((e) => log(`${e}`));
          for (let i = 0; i < 20; i++) await E(alice).echo(Far(`f${i}`, { m() {} }));
          log(await Promise.all([E(bob).leave(), E(bob).take(1).catch((e) => e.message), E(thing).use().catch((e) => e.message)]));
        } }",
    );
    Stage::new(&[("vat-alice.js", &alice), ("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)], &[])
}

#[test]
fn killed_after_any_crank() {
    for scenario in [encouragement as fn() -> Stage, busy] {
        with_stack(|| {
            let mut whole = scenario();
            let cranks = whole.run();
            let (lines, whole_image) = (whole.console(), whole.image());
            println!("{cranks} cranks, {lines:#?}");
            for kill in 0..=cranks {
                let mut stage = scenario();
                for _ in 0..kill {
                    stage.cranks(1);
                }
                stage.restart();
                stage.audit();
                assert_eq!(stage.run(), cranks - kill);
                assert_eq!(stage.console(), lines, "killed after {kill}");
                assert_eq!(stage.image(), whole_image, "killed after {kill}");
            }
        });
    }
}

#[test]
fn killed_after_each_crank() {
    for scenario in [encouragement as fn() -> Stage, busy] {
        with_stack(|| {
            let mut whole = scenario();
            whole.run();
            let mut stage = scenario();
            while !stage.cranks(1).1 {
                stage.restart();
            }
            assert_eq!(stage.console(), whole.console());
            assert_eq!(stage.image(), whole.image());
        });
    }
}

#[test]
fn blocks_of_any_size_and_their_replay() {
    for scenario in [encouragement as fn() -> Stage, busy] {
        with_stack(|| {
            let mut whole = scenario();
            whole.run();
            let (lines, expected) = (whole.console(), whole.image());
            for size in [1, 2, 7, 256] {
                let mut stage = scenario();
                let mut n = 0;
                while !stage.cranks(size).1 {
                    n += 1;
                    if n % 3 == 0 {
                        stage.checkpoint();
                    }
                }
                assert_eq!(stage.console(), lines, "blocks of {size}");
                assert_eq!(stage.image(), expected, "blocks of {size}");
                assert_eq!(image(&mut stage.replayed()), expected, "replay of blocks of {size}");
            }
        });
    }
}

/// More vats than are kept in memory at once.
#[test]
fn vats_that_come_and_go() {
    with_stack(|| {
        let scenario = || {
            let member = old(
                "{ add(n, rest) { log.sum = (log.sum || 0) + n; return rest.length === 0 ? log.sum : E(rest[0]).add(log.sum, rest.slice(1)); } }",
            );
            let bootstrap = old("{ async bootstrap(argv, vats) {
                  const all = Object.keys(vats).filter((name) => name[0] === 'm').map((name) => vats[name]);
                  for (let i = 0; i < 3; i++) console.log(await E(all[0]).add(i, harden(all.slice(1))));
                } }");
            let names: Vec<String> = (0..80).map(|n| format!("vat-m{n:02}.js")).collect();
            let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), member.as_str())).collect();
            files.push(("bootstrap.js", &bootstrap));
            Stage::new(&files, &[])
        };
        let mut whole = scenario();
        whole.run();
        let (lines, expected) = (whole.console(), whole.image());
        println!("{lines:?}");
        let mut stage = scenario();
        while !stage.cranks(50).1 {
            stage.restart();
        }
        assert_eq!(stage.console(), lines);
        assert_eq!(stage.image(), expected);
        assert_eq!(image(&mut stage.replayed()), expected);
    });
}
