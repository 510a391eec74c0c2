//! Looking back: `glassbox trace` and `glassbox repl --at`, as people see them. `UPDATE_EXPECT=1` writes the transcripts anew.

use crate::support::{Place, glassbox, stderr, stdout};
use expect_test::expect_file;
use std::io::Write;
use std::process::{Output, Stdio};

const BANK: &str = "\
const fs = System.files
let deposits = 0
exports.init = async function () {
  await fs.mkdir('/accounts')
}
exports.deposit = async function (name, amount) {
  console.log('deposit', name, amount)
  const before = await fs.readFile(`/accounts/${name}`, 'json') ?? 0
  await fs.writeFile(`/accounts/${name}`, before + amount)
  if (amount < 0) {
    console.warn('a negative amount:\\n' + amount)
    throw new RangeError('not a deposit')
  }
  deposits++
  return before + amount
}
exports.lottery = async function () {
  await new Promise(resolve => setTimeout(resolve, 1500))
  return Math.random() < 2
}
exports.quote = async function () {
  return await System.oracle(() => ({ price: 42 }))
}
exports.accounts = () => fs.readdir('/accounts')
";

/// A backend that has been used and stopped. Entries: 0 deployment, 1 init, 2 and 3 deposits, 4 a failure, 5 the lottery, 6 an
/// oracle, 7 a look.
fn used() -> Place {
    let place = Place::new("bank.js", BANK);
    let server = place.serve(&["--debug"]);
    server.ask(&["deposit", "\"ann\"", "5"]);
    server.ask(&["deposit", "\"ann\"", "7", "--user", "bob"]);
    assert!(!server.call(&["deposit", "\"ann\"", "-20"]).status.success());
    server.ask(&["lottery"]);
    server.ask(&["quote"]);
    server.ask(&["accounts"]);
    assert_eq!(server.stop(), Some(0));
    place
}

/// Runs a command in the place's folder.
pub fn at(place: &Place, args: &[&str], typed: &str) -> Output {
    let mut command = glassbox();
    command.args(args).current_dir(place.root()).env("HOME", place.root());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // It may have ended without reading.
    let _ = child.stdin.take().expect("piped").write_all(typed.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// The command and what it says, without what differs from run to run.
pub fn show(place: &Place, args: &[&str], typed: &str) -> String {
    let output = at(place, args, typed);
    let words: Vec<String> =
        args.iter().map(|word| if word.contains([' ', '#']) { format!("'{word}'") } else { (*word).to_owned() }).collect();
    let code = match output.status.code() {
        Some(0) => String::new(),
        code => format!("[exit {}]\n", code.unwrap_or(-1)),
    };
    let said = format!("$ glassbox {}\n{}{}{code}", words.join(" "), stdout(&output), stderr(&output));
    steady(&said.replace(&*place.root().to_string_lossy(), "/home/bob"))
}

/// Replaces times, names of transactions, seeds and counts of instructions.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    for line in text.lines() {
        let line = match line.trim_start().split_once(" µs  ") {
            Some((us, rest)) if us.bytes().all(|byte| byte.is_ascii_digit()) => format!("<n> µs  {rest}"),
            _ => line.to_owned(),
        };
        let mut word = String::new();
        for c in line.chars().chain(['\n']) {
            if c.is_ascii_alphanumeric() || "-.:".contains(c) {
                word.push(c);
                continue;
            }
            let (said, stop) = word.strip_suffix('.').map_or((&*word, ""), |said| (said, "."));
            steady += placeholder(said).unwrap_or(said);
            steady += stop;
            word.clear();
            steady.push(c);
        }
    }
    steady
}

fn placeholder(word: &str) -> Option<&'static str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if word.len() == 24 && word.ends_with('Z') {
        return Some("<time>");
    }
    if word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("<seed>");
    }
    match word.split_once('.') {
        Some((view, seqno)) if digits(view) && view.len() == 1 && digits(seqno) && view != "0" => Some("<tx>"),
        None if digits(word) && word.len() > 4 => Some("<n>"),
        _ => None,
    }
}

#[test]
fn traces() {
    let place = used();
    let mut shown = String::new();
    for entry in 0..8 {
        shown += &show(&place, &["trace", &format!("#{entry}"), "bank"], "");
    }
    for (tx, dir) in [("1", "bank"), ("0", "bank"), ("#8", "bank"), ("9999", "bank"), ("x", "bank"), ("#2", "nowhere")] {
        shown += &show(&place, &["trace", tx, dir], "");
    }
    expect_file!["transcripts/trace.txt"].assert_eq(&shown);

    let forwards = show(&place, &["trace", "#2", "bank"], "");
    let backwards = show(&place, &["trace", "bank", "#2"], "");
    assert_eq!(forwards.lines().skip(1).collect::<Vec<_>>(), backwards.lines().skip(1).collect::<Vec<_>>());
}

#[test]
fn a_trace_as_json_and_of_a_running_backend() {
    let place = used();
    let server = place.serve(&[]);
    server.ask(&["deposit", "\"ann\"", "1"]);
    for from in [&*server.url, "bank"] {
        let output = at(&place, &["trace", "#4", from, "--json"], "");
        assert!(output.status.success(), "{}", stderr(&output));
        let json = stdout(&output);
        for part in [
            r#""type":"call","name":"deposit","args":["ann",-20]"#,
            r#""position":{"file":"bank.js","line":9,"#,
            r#""type":"file","method":"writeFile","path":"/accounts/ann","written":"-8","bytes":2}"#,
            r#""type":"console","level":"warn""#,
            r#""error":{"name":"RangeError","message":"not a deposit","position":{"file":"bank.js","line":12,"#,
            r#""asRecorded":true"#,
        ] {
            assert!(json.contains(part), "{part}: {json}");
        }
    }
    let fresh = at(&place, &["trace", "#8", &server.url], "");
    assert!(stdout(&fresh).contains("writeFile /accounts/ann ← 13"), "{}", stdout(&fresh));
}

#[test]
fn a_repl_in_the_past() {
    let place = used();
    let typed = "\
deposits
await exports.deposit('ann', 30)
await fs.readFile('/accounts/ann')
deposits = 99; throw new Error('not kept')
deposits
System.caller.id
await System.oracle(() => 1)
Math.random() === Math.random()
(function () {
  return 'more lines'
})()
await exports.deposit('ann', -1)
.help
let mine = 1
mine + 1
.exit
";
    let mut shown = show(&place, &["repl", "--at", "#2", "bank"], typed);
    let last = stderr(&at(&place, &["repl", "--at", "9999", "bank"], ""));
    let last = last.rsplit(' ').next().expect("a word").trim().to_owned();
    shown += "# the last transaction is a signature\n";
    shown += &show(&place, &["repl", "--at", &last, "bank"], "deposits\nawait exports.accounts()\nthis is nothing\n");
    shown += &show(&place, &["repl", "--at", "#3", "bank", "-e", "deposits"], "");
    shown += &show(&place, &["repl", "--at", "#3", "bank", "-e", "nothing"], "");
    for tx in ["1", "0", "9999", "7.3", "#99", "", "x", "2.x", "-1"] {
        shown += &show(&place, &["repl", &format!("--at={tx}"), "bank"], "1\n");
    }
    expect_file!["transcripts/repl-at.txt"].assert_eq(&shown);

    // Nothing is kept.
    let again = show(&place, &["repl", "--at", "#2", "bank"], "deposits\nawait fs.readFile('/accounts/ann')\n");
    assert!(again.contains("> deposits\n1\n") && again.contains("\n'5'\n"), "{again}");
    assert!(place.serve(&[]).ask(&["accounts"]).contains("ann"), "the directory is as good as before");
}

#[test]
fn a_module_shows_its_exports() {
    let place = Place::new("module.js", "let count = 0\nexport function increment () { return ++count }\n");
    let server = place.serve(&[]);
    server.ask(&["increment"]);
    let output = at(&place, &["repl", "--at", "#1", &server.url, "-e", "exports.increment()"], "");
    assert_eq!(stdout(&output), "2\n", "{}", stderr(&output));
    assert_eq!(server.ask(&["increment"]), "2");
}
