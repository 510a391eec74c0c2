//! The examples of the README that this is all about, as they stand there.

use super::stage::{Stage, old, printed, today, with_stack};

/// Of the README, "Vat Sources".
const LEFT: &str = "function buildRootObject(E) {
  return harden({
    callRight(arg1, right) {
      console.log(`left.callRight ${arg1}`);
      E(right)
        .bar(2)
        .then(a => console.log(`left.then ${a}`));
      return 3;
    },
  });
}
export default function setup(syscall, state, helpers) {
  const dispatch = helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID);
  return dispatch;
}";

#[test]
fn a_vat_source() {
    let right = old("{ bar(n) { console.log(`right.bar ${n}`); return 4; } }");
    let bootstrap =
        old("{ bootstrap(argv, vats) { vats.left~.callRight(1, vats.right).then(r => console.log(`bootstrap got ${r}`)); } }");
    let lines = printed(&[("vat-left.js", LEFT), ("vat-right.js", &right), ("bootstrap.js", &bootstrap)]);
    assert_eq!(lines, ["left.callRight 1", "right.bar 2", "bootstrap got 3", "left.then 4"]);
}

#[test]
fn a_local_send_is_delivered_in_a_later_turn() {
    for send in ["t1~.foo()", "HandledPromise.applyMethod(t1, 'foo', [])", "E(t1).foo()"] {
        let body = format!(
            "{{ bootstrap() {{
               const t1 = {{
                 foo() {{ console.log('foo called'); }},
               }};
               {send}
               console.log('wavy dot called');
             }} }}"
        );
        assert_eq!(printed(&[("bootstrap.js", &old(&body))]), ["wavy dot called", "foo called"], "{send}");
        assert_eq!(printed(&[("bootstrap.js", &today(&body))]), ["wavy dot called", "foo called"], "{send}");
    }
}

#[test]
fn bootstrap_says_hello() {
    let bob = old("{ bar(text) { console.log('bar', text); } }");
    for send in [
        "vats.bob~.bar('hello bob')",
        "HandledPromise.applyMethod(vats.bob, 'bar', ['hello bob'])",
        "E(vats.bob).bar('hello bob')",
    ] {
        let bootstrap = old(&format!("{{ bootstrap(argv, vats) {{ {send}; }} }}"));
        assert_eq!(printed(&[("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)]), ["bar hello bob"], "{send}");
    }
}

#[test]
fn argv_is_what_the_command_line_has() {
    with_stack(|| {
        let bootstrap = old("{ bootstrap(argv, vats) { console.log(argv, Array.isArray(argv), Object.keys(vats).join()); } }");
        let bob = old("{ m() {} }");
        let mut stage =
            Stage::new(&[("vat-bob.js", &bob), ("vat-bar-none.js", &bob), ("bootstrap.js", &bootstrap)], &["x1", "x2", "x3"]);
        assert_eq!(stage.output(), ["[ 'x1', 'x2', 'x3' ] true _bootstrap,bar-none,bob"]);
        let bootstrap = today("{ bootstrap(vats) { console.log(vatParameters.argv, Object.keys(vats).join()); } }");
        let mut stage = Stage::new(&[("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)], &["#x1", "$2", "!"]);
        assert_eq!(stage.output(), ["[ '#x1', '$2', '!' ] bob,bootstrap"]);
    });
}

#[test]
fn return_values() {
    let bob = old("{ foo() { return 'this'; }, bad() { throw Error('that'); } }");
    let bootstrap = old("{ bootstrap(argv, { bob }) {
          const fooP = bob~.foo();
          fooP.then(resolution => console.log('foo said', resolution),
                    rejection => console.log('foo errored with', rejection));
          const badP = bob~.bad();
          badP.then(resolution => console.log('foo said', resolution),
                    rejection => console.log('foo errored with', String(rejection)));
        } }");
    assert_eq!(printed(&[("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)]), ["foo said this", "foo errored with Error: that"]);
}

#[test]
fn what_is_sent_to_a_rejected_promise_is_rejected() {
    let bob = old("{ foo() { console.log('never'); } }");
    let bootstrap = old("{ bootstrap(argv, { bob }) {
          const badP = Promise.reject(Error());
          const p2 = badP~.foo();
          p2.then(undefined, rej => console.log('rejected', String(rej)));
          const p3 = bob~.nothing()~.foo();
          p3.then(undefined, rej => console.log('rejected', rej.name, rej instanceof TypeError));
          const p4 = bob~.foo()~.foo();
          p4.then(undefined, rej => console.log('rejected', rej.name, rej instanceof TypeError, rej.message));
        } }");
    let mut lines = printed(&[("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)]);
    lines.retain(|line| {
        !line.starts_with("Unhandled rejection in vat _bootstrap (v2): [TypeError: target has no method \"nothing\"")
    });
    assert_eq!(lines[0], "rejected Error");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.contains(&"never".to_owned()));
    assert!(lines.contains(&"rejected TypeError true".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("rejected TypeError true ") && line.contains("foo")), "{lines:?}");
}

const SERVER: &str = "{
  openDB() {
    console.log('openDB');
    return harden({
      select(criteria) {
        console.log('select', criteria);
        return harden({ modify(value) { console.log('modify', value); return 'done'; } });
      },
    });
  },
}";

#[test]
fn a_pipeline() {
    let sends = [
        "const db = databaseServer~.openDB();
         const row = db~.select('criteria')
         const success = row~.modify('new');
         success.then(res => console.log('row modified'));",
        "databaseServer~.openDB()~.select('criteria')~.modify('new')
           .then(res => console.log('row modified'));",
        "E(E(E(databaseServer).openDB()).select('criteria')).modify('new')
           .then(res => console.log('row modified'));",
    ];
    for send in sends {
        with_stack(|| {
            let server = old(SERVER);
            let bootstrap = old(&format!("{{ bootstrap(argv, {{ databaseServer }}) {{ {send} }} }}"));
            let mut stage = Stage::new(&[("vat-databaseServer.js", &server), ("bootstrap.js", &bootstrap)], &[]);
            // The whole pipeline is in the queue after the first crank, and three cranks answer it.
            stage.cranks(1);
            assert_eq!(stage.dump().run_queue.len(), 3);
            stage.cranks(3);
            assert_eq!(stage.console(), ["openDB", "select criteria", "modify new"]);
            assert_eq!(stage.output(), ["row modified"]);
        });
    }
}

/// What was sent to a promise is with the vat that decides it before that vat has decided.
#[test]
fn a_pipeline_does_not_wait() {
    let server = old(
        "{
          openDB() { console.log('openDB'); let open; const p = new Promise(r => { open = r; }); this.later(open); return p; },
          later(open) { E(harden({ open() { console.log('opened'); open(harden({ select(c) { console.log('select', c); return 1; } })); } })).open(); },
        }",
    );
    let server = server.replace("this.later(open)", "log.open = open").replace("later(open)", "finish(open)").replace(
        "E(harden({ open() { console.log('opened'); open(harden({ select(c) { console.log('select', c); return 1; } })); } })).open();",
        "console.log('opened'); log.open(harden({ select(c) { console.log('select', c); return 1; } }));",
    );
    with_stack(|| {
        let bootstrap = old(
            "{ bootstrap(argv, { db }) { E(E(db).openDB()).select('x').then(r => console.log('got', r)); E(db).finish(); } }",
        );
        let mut stage = Stage::new(&[("vat-db.js", &server), ("bootstrap.js", &bootstrap)], &[]);
        assert_eq!(stage.output(), ["openDB", "opened", "select x", "got 1"]);
    });
}

#[test]
fn presences_keep_their_identity() {
    let parts =
        ["{ echo(x) { return x; }, same(x, y) { return x === y; }, keep(x) { log.kept = x; }, is(x) { return log.kept === x; },
           pass(to, x) { return E(to).keep(x); }, check(to, x) { return E(to).is(x); } }"];
    let bootstrap = "{ async bootstrap(a, b) {
        const { alice, bob, carol } = Array.isArray(a) ? b : a;
        const mine = MAKE;
        console.log('twice', await E(bob).same(mine, mine), await E(bob).same(alice, alice), await E(bob).same(alice, carol));
        await E(bob).keep(mine);
        console.log('again', await E(bob).is(mine));
        console.log('home', await E(bob).echo(mine) === mine, await E(bob).echo(bob) === bob, await E(bob).echo(alice) === alice);
        await E(alice).pass(carol, mine);
        console.log('two ways', await E(bob).check(carol, mine), await E(carol).is(bob));
        const data = harden({ x: 1, mine });
        const back = await E(bob).echo(data);
        console.log('data', back === data, back.x, back.mine === mine);
      } }";
    for (dialect, make) in [(old as fn(&str) -> String, "harden({ m() {} })"), (today, "Far('mine', { m() {} })")] {
        for other in [old as fn(&str) -> String, today] {
            let bootstrap = dialect(&bootstrap.replace("MAKE", make));
            let (alice, bob, carol) = (other(parts[0]), dialect(parts[0]), other(parts[0]));
            let lines = printed(&[
                ("vat-alice.js", &alice),
                ("vat-bob.js", &bob),
                ("vat-carol.js", &carol),
                ("bootstrap.js", &bootstrap),
            ]);
            let expected =
                ["twice true true false", "again true", "home true true true", "two ways true false", "data false 1 true"];
            assert_eq!(lines, expected);
        }
    }
}

#[test]
fn what_nobody_invokes_does_nothing_but_its_setup() {
    let bob = "export default function setup(syscall, state, helpers) {
        console.log(`setup of ${helpers.vatID}`);
        return helpers.makeLiveSlots(syscall, state, () => harden({ m() {} }), helpers.vatID);
      }";
    with_stack(|| {
        let mut stage = Stage::new(&[("vat-bob.js", bob), ("bootstrap.js", &old("{ bootstrap() {} }"))], &[]);
        assert_eq!(stage.console(), ["setup of bob"]);
        assert_eq!(stage.run(), 1);
        assert!(stage.console().is_empty());
    });
}
