//! `glassbox upgrade`: what new code would have made of the same calls, and the upgrade of a directory.

use crate::support::{Place, stderr, stdout};
use crate::trace::{at, show};
use expect_test::expect_file;

const OLD: &str = "\
let total = 0
const log = []
exports.init = async function () { await System.files.writeFile('/total', '0') }
exports.add = async function (n) {
  if (typeof n !== 'number') throw new TypeError('no number')
  total += n
  log.push(n)
  await System.files.writeFile('/total', String(total))
  return total
}
exports.lucky = () => Math.random() < 2
exports.total = () => total
";

/// Entries: 0 deployment, 1 init, 2 to 5 additions (one fails), 6 luck, 7 a look.
fn used() -> Place {
    let place = Place::new("sum.js", OLD);
    let server = place.serve(&["--debug"]);
    for n in ["1", "2", "10"] {
        server.ask(&["add", n]);
    }
    assert!(!server.call(&["add", "\"x\""]).status.success());
    server.ask(&["lucky"]);
    server.ask(&["total", "--user", "bob"]);
    assert_eq!(server.stop(), Some(0));
    place
}

fn write(place: &Place, name: &str, source: &str) {
    std::fs::write(place.root().join(name), source).expect("written");
}

#[test]
fn dry_runs() {
    let place = used();
    let migrate = "exports.migrate = async function (previous) {\n  total = previous.total\n  await System.files.writeFile('/log', JSON.stringify(previous.log))\n}\n";
    write(&place, "same.js", &format!("// the same, one line further down\n{OLD}"));
    write(&place, "bonus.js", &(OLD.replace("total += n", "total += n >= 10 ? n + 1 : n") + migrate));
    write(&place, "fewer.js", &OLD.replace("exports.total =", "exports.sum ="));
    write(&place, "asks.js", &OLD.replace("() => total", "async () => [total, await System.oracle(() => 1)]"));
    write(&place, "broken.js", "exports.a = () => 1\nnothing.here()\n");
    write(&place, "syntax.js", "exports.a = (\n");
    write(&place, "stuck.js", &(OLD.to_owned() + "exports.migrate = function () { throw new RangeError('no way') }\n"));
    let mut shown = String::new();
    for script in ["same.js", "bonus.js", "fewer.js", "asks.js", "stuck.js", "broken.js", "syntax.js", "missing.js"] {
        shown += &show(&place, &["upgrade", "--dry-run", "sum", script], "");
    }
    expect_file!["transcripts/upgrade-dry-run.txt"].assert_eq(&shown);

    let output = at(&place, &["upgrade", "sum", "bonus.js", "--dry-run", "--json"], "");
    assert_eq!(output.status.code(), Some(1));
    let json = stdout(&output);
    for part in [
        r#"{"same":false,"calls":7,"differing":2,"#,
        r#""method":"add","args":[10],"caller":null,"recorded":{"result":13},"now":{"result":14},"files":[{"path":"/total","#,
        r#""method":"total","args":[],"caller":"bob""#,
        r#""upgrade":{"comesUp":true,"migrates":true,"writes":{"/log":"\"[1,2,10]\""#,
    ] {
        assert!(json.contains(part), "{part}: {json}");
    }
}

#[test]
fn many_differences_are_counted_and_not_all_shown() {
    let place = Place::new("sum.js", OLD);
    let server = place.serve(&[]);
    for _ in 0..25 {
        server.ask(&["add", "1"]);
    }
    write(&place, "other.js", &OLD.replace("total += n", "total += 2 * n"));
    // Of a backend that is being served.
    let output = at(&place, &["upgrade", &server.url, "other.js", "--dry-run"], "");
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(text.lines().filter(|line| line.starts_with("✖ #")).count(), 20, "{text}");
    assert!(text.contains("\n  and 5 more\n") && text.contains("✖ other.js differs in 25 of 26 calls."), "{text}");
}

#[test]
fn a_directory_is_upgraded_whether_it_is_served_or_not() {
    let place = used();
    let new = OLD.to_owned() + "exports.migrate = previous => { total = previous.total }\nexports.version = () => 2\n";
    write(&place, "new.js", &new);
    let server = place.serve(&[]);
    let over = OLD.to_owned() + "exports.migrate = previous => { total = previous.total }\nexports.version = () => 1\n";
    write(&place, "over.js", &over);
    let output = at(&place, &["upgrade", "sum", "over.js"], "");
    assert_eq!(output.status.code(), Some(0), "the backend takes it: {}", stderr(&output));
    assert_eq!(server.ask(&["version"]).trim(), "1");
    let stranger = place.root().join("stranger");
    std::fs::write(&stranger, "07".repeat(32) + "\n").expect("it is written");
    let stranger = stranger.to_string_lossy();
    let output = at(&place, &["upgrade", &server.url, "new.js", "--operator", &stranger], "");
    assert_eq!(output.status.code(), Some(1), "another key");
    assert!(stderr(&output).contains("NotTheOperatorError"), "{}", stderr(&output));
    assert_eq!(server.stop(), Some(0));

    write(&place, "broken.js", "exports.a = () => 1\nnothing.here()\n");
    assert_eq!(at(&place, &["upgrade", "sum", "broken.js"], "").status.code(), Some(1));

    let output = at(&place, &["upgrade", "sum", "new.js"], "");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("Upgraded to new.js by transaction "), "{}", stdout(&output));
    assert!(stdout(&at(&place, &["upgrade", "sum", "new.js"], "")).ends_with("runs this script already.\n"));

    place.edit(&new);
    let server = place.serve(&[]);
    assert_eq!(server.ask(&["version"]), "2");
    assert_eq!(server.ask(&["total"]), "13");
    let verified = at(&place, &["verify", &server.url], "");
    assert!(verified.status.success(), "{}", stderr(&verified));
}

#[test]
fn what_is_no_directory_of_a_backend_is_left_alone() {
    let place = used();
    write(&place, "new.js", OLD);
    std::fs::create_dir(place.root().join("empty")).expect("made");
    for target in ["empty", "nowhere"] {
        let output = at(&place, &["upgrade", target, "new.js"], "");
        assert_eq!(output.status.code(), Some(2), "{target}: {}", stdout(&output));
    }
    assert!(std::fs::read_dir(place.root().join("empty")).expect("readable").next().is_none());
}
