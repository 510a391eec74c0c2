//! Vats that are kept: killed after every crank, continued, audited.

use super::{Folder, piped};
use crate::support::{glassbox, run, stderr, stdout};
use expect_test::expect;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Vats of both kinds, pipelining, errors, promises that wait for each other, and a vat that ends.
fn scenario() -> Folder {
    Folder::new(&[
        (
            "bootstrap.js",
            "import { E, Far } from '@endo/far';
export const buildRootObject = () => Far('root', {
  async bootstrap(vats) {
    const db = E(vats.db).open();
    const row = E(E(db).select('x')).modify(7);
    E(vats.old).add({ a: 1 }, vats.db).then(sum => console.log('old', sum));
    console.log('row', await row);
    const late = E(vats.db).later();
    E(late).greet('early').then(text => console.log(text));
    await E(vats.db).release();
    console.log(await E(late).greet('late'));
    await E(vats.old).fail().catch(error => console.log(error.name, error.message));
    await E(vats.db).leave().catch(error => console.log('left:', error.message));
    console.log(await E(vats.db).open().catch(error => error.message));
    for (let i = 0; i < 5; i += 1) console.log(await E(vats.old).add({ a: i }));
  },
});
",
        ),
        (
            "vat-db.js",
            "import { Far } from '@endo/far';
import { makePromiseKit } from '@endo/promise-kit';
export const buildRootObject = vatPowers => {
  const rows = new Map();
  const kit = makePromiseKit();
  return Far('root', {
    open: () => Far('db', { select: name => Far('row', { modify: value => { rows.set(name, value); return [...rows]; } }) }),
    later: () => kit.promise,
    release: () => kit.resolve(Far('greeter', { greet: name => `hello ${name}` })),
    leave: () => vatPowers.exitVatWithFailure(Error('enough')),
  });
};
",
        ),
        (
            "vat-old.js",
            "export default function setup(syscall, state, helpers) {
  let sum = 0;
  const build = E => harden({
    add({ a }, db) {
      sum += a;
      helpers.log(`sum ${sum}`);
      return db ? db~.open()~.select('y')~.modify(sum)~.[0] : sum;
    },
    fail() { throw new RangeError('out of it'); },
  });
  return helpers.makeLiveSlots(syscall, state, build, helpers.vatID);
}
",
        ),
    ])
}

fn shell(folder: &Path, dir: &Path) -> Command {
    let mut command = glassbox();
    command.args(["vat", "shell"]).arg(folder).arg("--dir").arg(dir);
    command
}

/// The tables, as JSON.
fn tables(folder: &Path, dir: &Path) -> String {
    let output = piped(shell(folder, dir), "dump({ json: true })\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line = stdout(&output).lines().find(|line| line.starts_with('{')).map(str::to_owned);
    line.unwrap_or_else(|| panic!("no tables: {}", stdout(&output)))
}

fn finish(folder: &Path, dir: &Path) -> String {
    let output = glassbox().args(["vat", "run"]).arg(folder).arg("--dir").arg(dir).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

fn verified(dir: &Path) {
    let output = run(&["verify", dir.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

/// Steps so often, and is killed. What the vats have said by then.
fn step_and_die(folder: &Path, dir: &Path, steps: usize) -> String {
    let mut child =
        shell(folder, dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    // The line after the steps says that they are done.
    for _ in 0..steps {
        writeln!(stdin, "await step()").expect("it reads");
    }
    writeln!(stdin, "'done ' + {steps}").expect("it reads");
    stdin.flush().expect("it reads");
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        if line.contains(&format!("done {steps}")) {
            break;
        }
        said.push_str(&line);
        said.push('\n');
    }
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    said
}

#[test]
fn killed_after_every_crank_it_comes_to_the_same_end() {
    let folder = scenario();
    let place = tempfile::tempdir().expect("a folder");
    let dir = |name: &str| -> PathBuf { place.path().join(name) };
    let whole = finish(folder.path(), &dir("whole"));
    assert!(whole.contains("left: vat terminated"), "{whole}");
    let expected = tables(folder.path(), &dir("whole"));
    let cranks = cranks(folder.path(), &dir("whole"));
    assert!(cranks > 30, "{cranks}");
    verified(&dir("whole"));
    // One run that is killed after every step of its life, and then some that are killed once.
    let crawling = dir("crawling");
    for _ in 0..cranks {
        step_and_die(folder.path(), &crawling, 1);
    }
    finish(folder.path(), &crawling);
    assert_eq!(tables(folder.path(), &crawling), expected);
    verified(&crawling);
    for steps in [1, cranks / 3, cranks / 2, cranks - 1] {
        let dir = dir(&format!("killed-{steps}"));
        step_and_die(folder.path(), &dir, steps);
        finish(folder.path(), &dir);
        assert_eq!(tables(folder.path(), &dir), expected, "killed after {steps}");
        verified(&dir);
    }
}

/// How many cranks a run took, beside those of the start.
fn cranks(folder: &Path, dir: &Path) -> usize {
    let mut fresh = 0;
    let place = tempfile::tempdir().expect("a folder");
    let output = piped(shell(folder, &place.path().join("count")), "'cranks ' + await run()\n");
    for line in stdout(&output).lines() {
        if let Some(number) = line.strip_prefix("'cranks ") {
            fresh = number.trim_end_matches('\'').parse().expect("a number");
        }
    }
    assert!(dir.is_dir());
    fresh
}

#[test]
fn a_store_that_is_gone_is_made_again() {
    let folder = Folder::new(&[
        (
            "bootstrap.js",
            "import { E, Far } from '@endo/far';
export const buildRootObject = (powers, { argv }) => Far('root', {
  async bootstrap(vats) { for (let i = 0; i < 3000; i += 1) await E(vats.sum).add(i); console.log(await E(vats.sum).add(0)); },
});
",
        ),
        (
            "vat-sum.js",
            "import { Far } from '@endo/far';
export const buildRootObject = () => { let sum = 0; return Far('root', { add: n => (sum += n) }); };
",
        ),
    ]);
    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("kept");
    assert_eq!(finish(folder.path(), &dir), "4498500\n= vat finished\n");
    verified(&dir);
    let before = tables(folder.path(), &dir);
    // Without its store it is made again from the ledger.
    std::fs::remove_dir_all(dir.join("state")).expect("it is there");
    assert_eq!(tables(folder.path(), &dir), before);
    verified(&dir);
}

#[test]
fn a_ledger_that_was_changed_does_not_pass() {
    let folder = scenario();
    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("kept");
    finish(folder.path(), &dir);
    let ledger = dir.join("ledger");
    let chunk =
        std::fs::read_dir(&ledger).expect("a folder").map(|entry| entry.expect("an entry").path()).next().expect("a chunk");
    let mut bytes = std::fs::read(&chunk).expect("a file");
    let at = bytes.windows(11).position(|window| window == b"hello early").expect("what was said");
    bytes[at] ^= 1;
    std::fs::write(&chunk, bytes).expect("a file");
    let output = run(&["verify", dir.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
}

#[test]
fn another_folder_is_refused() {
    let folder = scenario();
    let place = tempfile::tempdir().expect("a folder");
    let dir = place.path().join("kept");
    finish(folder.path(), &dir);
    let other = Folder::new(&[(
        "bootstrap.js",
        "import { Far } from '@endo/far';\nexport const buildRootObject = () => Far('root', { bootstrap() {} });\n",
    )]);
    let output = glassbox().args(["vat", "run"]).arg(other.path()).arg("--dir").arg(&dir).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("The directory has the vats db, old, bootstrap"), "{}", stderr(&output));
}

/// What cannot apply any more is refused; what is the same, or was not said, is no difference.
#[test]
fn a_kept_installation_stays_as_it_is() {
    let place = Folder::new(&[
        (
            "ex/bootstrap.js",
            "import { Far } from '@endo/far';\nexport const buildRootObject = () => Far('root', { bootstrap() {} });\n",
        ),
        ("other.js", "exports.f = () => 1;\n"),
    ]);
    let run = |line: &str| {
        let output = glassbox().current_dir(place.path()).args(line.split_whitespace()).output().expect("it runs");
        (output.status.code(), stderr(&output).replace(&place.path().display().to_string(), "PLACE"))
    };
    let first = "vat run ex --dir kept --heap-mib 64 --device command --with timer -- 3000";
    for line in [
        first,
        first,
        "vat run ex --dir kept",
        "vat run --dir kept",
        "vat run --dir kept --heap-mib 64 --with timer -- 3000",
        "vat trace --dir kept",
    ] {
        assert_eq!(run(line), (Some(0), String::new()), "{line}");
    }
    let mut said = String::new();
    for line in [
        "vat run ex --dir kept -- 5",
        "vat run --dir kept --heap-mib 8",
        "vat run ex --dir kept --instructions 5000000",
        "vat run --dir kept --with http",
        "vat serve --dir kept --root nosuch --port 0",
        "vat serve ex --dir kept --device timer --device command --with comms --with vatAdmin --with http --port 0",
        "vat run --dir kept --checkpoint-every 9",
        "vat trace --dir kept --heap-mib 64",
        "vat trace kept",
        "vat run kept",
        "exec other.js --dir kept --port 0",
        "upgrade kept other.js",
        "upgrade kept other.js --dry-run",
        "trace #1 kept",
        "repl --at 3 kept",
    ] {
        let (code, error) = run(line);
        said.push_str(&format!("$ {line}\n{error}[{}]\n", code.unwrap_or(-1)));
    }
    expect![[r#"
        $ vat run ex --dir kept -- 5
        ERROR: The directory has its installation already: its bootstrap was given 3000, not 5. Leave that out, or choose another --dir.
        [1]
        $ vat run --dir kept --heap-mib 8
        ERROR: The directory has its installation already: its heap limit is 67108864, not 8388608. Leave that out, or choose another --dir.
        [1]
        $ vat run ex --dir kept --instructions 5000000
        ERROR: The directory has its installation already: its instruction limit is 5000000000, not 5000000. Leave that out, or choose another --dir.
        [1]
        $ vat run --dir kept --with http
        ERROR: The directory has its installation already: it has no vat 'http' of Glassbox's own. Leave that out, or choose another --dir.
        [1]
        $ vat serve --dir kept --root nosuch --port 0
        ERROR: The directory has its installation already: it serves the root of no vat, also not of 'nosuch'. Leave that out, or choose another --dir.
        [1]
        $ vat serve ex --dir kept --device timer --device command --with comms --with vatAdmin --with http --port 0
        ERROR: The directory has its installation already: it has no vat 'http' of Glassbox's own. Leave that out, or choose another --dir.
        [1]
        $ vat run --dir kept --checkpoint-every 9
        [0]
        $ vat trace --dir kept --heap-mib 64
        ERROR: the ledger of --dir has its installation already; only how it is shown can be said
        [2]
        $ vat trace kept
        ERROR: kept has no sources, but something that is kept: name it as --dir kept
        [2]
        $ vat run kept
        ERROR: kept has no sources, but something that is kept: name it as --dir kept
        [2]
        $ exec other.js --dir kept --port 0
        ERROR: PLACE/kept holds vats, not a script
        [1]
        $ upgrade kept other.js
        ERROR: kept holds vats, not a script
        [1]
        $ upgrade kept other.js --dry-run
        ERROR: this is not the ledger of a script, but of a bundle or of vats
        [2]
        $ trace #1 kept
        ERROR: kept holds vats, not a script: see glassbox vat trace --dir kept
        [2]
        $ repl --at 3 kept
        ERROR: kept holds vats, not a script: see glassbox vat trace --dir kept
        [2]
    "#]].assert_eq(&said);
}
