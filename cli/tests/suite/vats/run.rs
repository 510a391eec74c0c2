//! The examples, run and shown as a person would see them.

use super::Folder;
use crate::support::{glassbox, stderr, stdout};
use expect_test::expect;
use std::process::Output;

fn example(name: &str, args: &[&str]) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    let output = glassbox().args(["vat", "run"]).arg(path).arg("--").args(args).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{name}");
    stdout(&output)
}

#[test]
fn encouragement() {
    expect![[r#"
        => loading bootstrap.js
        => setup called
        => bootstrap() called
        => user.talkToBot is called with encouragementBot
        => encouragementBot.encourageMe got the name: user
        => the promise given by the call to user.talkToBot resolved to 'Thanks for the setup. I sure hope I get some encouragement...'
        => user receives the encouragement: user, you are awesome, keep it up!
        = vat finished
    "#]]
    .assert_eq(&example("encouragement", &["x1", "x2"]));
}

#[test]
fn encouragement_with_wavy_dots_is_the_same() {
    assert_eq!(example("vats/encouragement-wavy", &[]), example("encouragement", &[]));
}

#[test]
fn encouragement_over_comms() {
    expect![[r#"
        => loading bootstrap.js
        => setup called
        => bootstrap() called
        => user.talkToBot is called with bot
        => the promise given by the call to user.talkToBot resolved to 'Thanks for the setup. I sure hope I get some encouragement...'
        inbound promise rp-40 mapped to p+20
        => encouragementBot.encourageMe got the name: user
        comms.notifyFulfillToData(p+20)
        => user receives the encouragement: user, you are awesome, keep it up!
        = vat finished
    "#]]
    .assert_eq(&example("vats/encouragement-comms", &[]));
}

#[test]
fn the_others() {
    expect![[r#"
        left.callRight 1
        right.bar 2
        bootstrap.then 3
        left.then 4
        = vat finished
    "#]]
    .assert_eq(&example("vats/left-right", &[]));
    expect![[r#"
        ping 3
        pong 2
        ping 1
        => ping had the last of 3 hits
        = vat finished
    "#]]
    .assert_eq(&example("vats/pingpong", &["3"]));
}

#[test]
fn the_shell_steps_and_shows_the_tables() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/encouragement");
    let script = "await step()\nawait step()\ndump()\nawait run()\nawait step()\n[10,20]~.[1]\n";
    let mut command = glassbox();
    command.args(["vat", "shell"]).arg(path);
    let output = super::piped(command, script);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    expect![[r#"
        => loading bootstrap.js
        => setup called
        vat> await step()
        step!
        => bootstrap() called
        1
        vat> await step()
        step!
        => user.talkToBot is called with encouragementBot
        1
        vat> dump()
        Kernel Table:
        [
          [ 'kd30', 'd7', 'd+0' ],
          [ 'kd30', 'v3', 'd-70' ],
          [ 'ko20', 'v3', 'o+0' ],
          [ 'ko21', 'v1', 'o+0' ],
          [ 'ko21', 'v2', 'o-50' ],
          [ 'ko21', 'v3', 'o-50' ],
          [ 'ko22', 'v2', 'o+0' ],
          [ 'ko22', 'v3', 'o-51' ],
          [ 'kp40', 'v2', 'p-60' ],
          [ 'kp40', 'v3', 'p+5' ],
          [ 'kp41', 'v2', 'p+5' ]
        ]
        Promises:
        [
          {
            id: 'kp40',
            state: 'fulfilledToData',
            data: {
              body: '"Thanks for the setup. I sure hope I get some encouragement..."',
              slots: []
            }
          },
          { id: 'kp41', state: 'unresolved', subscribers: [ 'v2' ], queue: [] }
        ]
        Run Queue:
        [
          {
            type: 'send',
            target: 'ko21',
            msg: {
              method: 'encourageMe',
              args: { body: '["user"]', slots: [] },
              result: 'kp41'
            }
          },
          { type: 'notify', vatID: 'v3', kpid: 'kp40' }
        ]
        undefined
        vat> await run()
        run!
        => encouragementBot.encourageMe got the name: user
        => the promise given by the call to user.talkToBot resolved to 'Thanks for the setup. I sure hope I get some encouragement...'
        => user receives the encouragement: user, you are awesome, keep it up!
        3
        vat> await step()
        step!
        0
        vat> [10,20]~.[1]
        20
    "#]].assert_eq(&stdout(&output));
}

fn fails(folder: &Folder, args: &[&str]) -> String {
    let output: Output = glassbox().args(["vat", "run"]).arg(folder.path()).args(args).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    stderr(&output).replace(&folder.path().display().to_string(), "FOLDER")
}

const BOOTSTRAP: &str = "export const buildRootObject = () => Far('root', { bootstrap() {} });";

#[test]
fn what_cannot_begin_says_why() {
    let far = "import { Far } from '@endo/far';\n";
    let good = format!("{far}{BOOTSTRAP}");
    let folder = |files: &[(&str, &str)]| Folder::new(files);
    let mut said = String::new();
    let mut case = |what: &str, files: &[(&str, &str)]| {
        said.push_str(&format!("# {what}\n{}\n", fails(&folder(files), &[])));
    };
    case("no bootstrap", &[("vat-a.js", &good)]);
    case("a syntax error", &[("bootstrap.js", &good), ("vat-a.js", "export const x = 1;\nconst = 2;\n")]);
    case("an import from outside", &[("bootstrap.js", "import x from '../secret.js';\n")]);
    case("a package that is none", &[("bootstrap.js", "import fs from 'fs';\n")]);
    case("a file that is missing", &[("bootstrap.js", "\nimport { x } from './missing.js';\n")]);
    case("setup without dispatch", &[("bootstrap.js", &good), ("vat-a.js", "export default function setup() { return {}; }\n")]);
    case(
        "setup that throws",
        &[("bootstrap.js", &good), ("vat-a.js", "export default function setup() { throw new TypeError('no'); }\n")],
    );
    case("neither", &[("bootstrap.js", &good), ("vat-a.js", "export const nothing = 1;\n")]);
    case("a root that is none", &[("bootstrap.js", &good), ("vat-a.js", "export const buildRootObject = () => 3;\n")]);
    case(
        "a root that never is",
        &[("bootstrap.js", &good), ("vat-a.js", "export const buildRootObject = () => new Promise(() => {});\n")],
    );
    case(
        "an export that is missing",
        &[("bootstrap.js", &good), ("vat-a.js", "import { nope } from '@endo/far';\nexport const buildRootObject = nope;\n")],
    );
    case("a loop at the start", &[("bootstrap.js", &good), ("vat-a.js", "for (;;) {}\n")]);
    expect![[r##"
        # no bootstrap
        ERROR: FOLDER has no bootstrap.js: its bootstrap(argv, vats) is what gets vats going

        # a syntax error
        ERROR: vat-a.js:2:7: Unexpected token
          const = 2;

        # an import from outside
        ERROR: bootstrap.js:1: cannot import '../secret.js': it leads out of the folder

        # a package that is none
        ERROR: bootstrap.js:1: cannot import 'fs': no package of this name is known to vats, and a file's name begins with ./ or ../

        # a file that is missing
        ERROR: bootstrap.js:2: cannot import './missing.js': there is no missing.js

        # setup without dispatch
        ERROR: Error: vat a: vat setup() failed to return a 'dispatch' with .deliver: [object Object]

        # setup that throws
        ERROR: TypeError: vat a: no
            at setup (/vat-a.js:1:45)

        # neither
        ERROR: Error: vat a: vat module /vat-a.js has neither a default export 'setup' nor an export 'buildRootObject' that is a function

        # a root that is none
        ERROR: Error: vat a: buildRootObject() for vat "v1" returned 3, which is not Far

        # a root that never is
        ERROR: NeverSettlesError: vat a: buildRootObject unresolved

        # an export that is missing
        ERROR: SyntaxError: vat a: Could not find export 'nope' in module '@endo/far'

        # a loop at the start
        ERROR: InstructionLimitError: vat a: The crank ran for more than 5000000000 instructions

    "##]].assert_eq(&said);
}

#[test]
fn one_vat_suffers_and_the_others_go_on() {
    let folder = Folder::new(&[
        (
            "bootstrap.js",
            "import { E, Far } from '@endo/far';
export const buildRootObject = () => Far('root', {
  async bootstrap(vats) {
    for (const how of ['loop', 'hog', 'recurse', 'exit']) {
      await E(vats[how])[how]().then(v => console.log(how, 'resolved', v), e => console.log(how, 'rejected', e.name, e.message));
      await E(vats[how]).again().then(v => console.log('again', v), e => console.log(how, 'again', e.message));
    }
    console.log(await E(vats.good).fine());
  },
});
",
        ),
        ("vat-loop.js", BAD),
        ("vat-hog.js", BAD),
        ("vat-recurse.js", BAD),
        ("vat-exit.js", BAD),
        (
            "vat-good.js",
            "import { Far } from '@endo/far';\nexport const buildRootObject = () => Far('root', { fine: () => 'fine' });\n",
        ),
    ]);
    let mut command = glassbox();
    command.args(["vat", "run"]).arg(folder.path()).args(["--instructions", "50000000", "--heap-mib", "16"]);
    let output = command.output().expect("it runs");
    expect![[r#"
        loop rejected Error vat terminated
        loop again vat terminated
        hog rejected Error vat terminated
        hog again vat terminated
        recurse rejected RangeError Maximum call stack size exceeded
        again still there
        exit rejected Error vat terminated
        exit again vat terminated
        fine
        = vat finished
    "#]]
    .assert_eq(&stdout(&output));
    expect![[r#"
        vat loop (v4) terminated: InstructionLimitError: The crank ran for more than 50000000 instructions
        vat hog (v3) terminated: InstructionLimitError: The crank ran for more than 50000000 instructions
        vat exit (v1) terminated: Error: enough
    "#]]
    .assert_eq(&stderr(&output));
    assert_eq!(output.status.code(), Some(0));
}

/// A configuration whose vat says what it was given.
fn configured() -> Folder {
    Folder::new(&[
        (
            "app.json",
            r#"{"bootstrap":"a","vats":{"a":{"sourceSpec":"./a.js","parameters":{"argv":["of the configuration"],"more":1}}}}"#,
        ),
        (
            "a.js",
            "import { Far } from '@endo/far';
import harden, { harden as same } from '@endo/harden';
import 'ses';
export const buildRootObject = (powers, { argv, more }) => Far('root', {
  bootstrap() { console.log(JSON.stringify(harden([argv, more, harden === same]))); },
});
",
        ),
    ])
}

#[test]
fn arguments_win_over_those_of_a_configuration() {
    let folder = configured();
    let run = |args: &[&str]| {
        let mut command = glassbox();
        let output = command.args(["vat", "run", "-c"]).arg(folder.path().join("app.json")).args(args).output().expect("it runs");
        assert_eq!(stderr(&output), "");
        stdout(&output)
    };
    assert_eq!(run(&[]), "[[\"of the configuration\"],1,true]\n= vat finished\n");
    assert_eq!(run(&["--", "3", "4"]), "[[\"3\",\"4\"],1,true]\n= vat finished\n");
}

#[test]
fn examples_that_need_callers_say_so() {
    for name in ["counter", "mail-a", "mail-b"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/vats").join(name);
        let output = glassbox().args(["vat", "run"]).arg(path).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert_eq!(
            stderr(&output),
            "bootstrap failed: Error: this needs callers: glassbox vat serve (-v shows where it was thrown)\n",
            "{name}"
        );
    }
}

/// A vat with a dispatch of its own sends a method beside a body of either kind.
#[test]
fn a_trace_says_what_was_sent() {
    let folder = Folder::new(&[
        (
            "bootstrap.js",
            "export default function setup(syscall) {
  return harden({
    deliver(target, method, args, result) {
      if (method !== 'bootstrap') return;
      const [other] = args.slots.filter(slot => slot.startsWith('o-'));
      syscall.send(other, 'go', { body: '#[1,[2,\"+3\"],\"!+4\"]', slots: [] });
      syscall.send(other, 'get', { body: '#[]', slots: [] }, 'p+5');
      syscall.send(other, 'go', { body: '[1,{\"@qclass\":\"NaN\"},\"+4\"]', slots: [] });
    },
    notify() {},
  });
}
",
        ),
        (
            "vat-a.js",
            "import { Far } from '@endo/far';
export const buildRootObject = () => {
  const root = Far('root', { go() {}, get: () => harden([12n, undefined, '+5', NaN, root]) });
  return root;
};
",
        ),
    ]);
    let output = glassbox().args(["vat", "trace"]).arg(folder.path()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    expect![[r#"
        2  _bootstrap (v2): ko20.bootstrap([], {"_bootstrap":$0,"a":$1}, {"_dummy":"dummy","loopbox":$2…)
        3    a (v1): ko21.go(1, [2,3n], "+4")
        4    a (v1): ko21.get() → kp40
        4      kp40 = [12n,undefined,"+5",NaN,$0]
        5    a (v1): ko21.go(1, NaN, "+4")
    "#]]
    .assert_eq(&stdout(&output));
}

const BAD: &str = "import { Far } from '@endo/far';
export const buildRootObject = vatPowers => Far('root', {
  loop() { for (;;) {} },
  hog() { const all = []; for (;;) all.push(new Array(1000).fill(all.length)); },
  recurse() { const f = () => f() + 1; return f(); },
  exit() { vatPowers.exitVatWithFailure(Error('enough')); return 'not heard'; },
  again: () => 'still there',
});
";
