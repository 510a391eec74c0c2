//! Vats that are kept: killed after every crank, continued, audited.

use super::{Folder, piped};
use crate::support::{glassbox, run, stderr, stdout};
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
