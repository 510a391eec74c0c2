//! Vats that take calls, with the same clients as scripts.

use super::Folder;
use crate::restart::recovered;
use crate::support::{Place, Server, glassbox, run, stderr, stdout};
use std::path::Path;

pub struct Served {
    pub place: Place,
    pub server: Server,
}

pub fn serve(folder: &Path, args: &[&str]) -> Served {
    let place = Place::new("none.js", "");
    let server = again(&place, folder, args);
    Served { place, server }
}

pub fn again(place: &Place, folder: &Path, args: &[&str]) -> Server {
    let mut command = glassbox();
    command.args(["vat", "serve"]).arg(folder).args(["-p", "0", "--dir"]).arg(place.root().join("kernel")).args(args);
    place.serve_as(command)
}

const BANK: &str = "import { E, Far } from '@endo/far';
export const buildRootObject = () => {
  let total = 0;
  const waiting = [];
  return Far('root', {
    add: n => (total += n),
    total: () => total,
    who: () => 'nobody',
    fail() { throw new RangeError('too much'); },
    promise: () => new Promise(resolve => waiting.push(resolve)),
    release() { for (const resolve of waiting.splice(0)) resolve(total); return 'released'; },
    object: () => Far('object', {}),
    loop() { for (;;) {} },
  });
};
";

fn bank() -> Folder {
    Folder::new(&[
        (
            "bootstrap.js",
            "import { E, Far } from '@endo/far';
export const buildRootObject = () => Far('root', { bootstrap: vats => E(vats.http).register(vats.bank) });
",
        ),
        ("vat-bank.js", BANK),
    ])
}

#[test]
fn calls_are_transactions_of_vats() {
    let folder = bank();
    let Served { place, server } = serve(folder.path(), &[]);
    assert_eq!(server.ask(&["add", "5"]), "5");
    assert_eq!(server.ask(&["add", "7"]), "12");
    let output = server.call(&["fail"]);
    assert!(stderr(&output).contains("RangeError: too much"), "{}", stderr(&output));
    let output = server.call(&["object"]);
    assert!(stderr(&output).contains("only data can leave"), "{}", stderr(&output));
    let output = server.call(&["nothing"]);
    assert_ne!(output.status.code(), Some(0));
    server.kill();
    let server = again(&place, folder.path(), &[]);
    assert_eq!(server.ask(&["total"]), "12");
    assert_eq!(server.ask(&["add", "1"]), "13");
    assert_eq!(server.stop(), Some(0));
    // Who was stopped has written a checkpoint: nothing runs again.
    let server = again(&place, folder.path(), &[]);
    let (entries, replayed) = recovered(&server);
    assert!(entries >= 6 && replayed == 0, "{replayed} of {entries}");
    assert_eq!(server.ask(&["total"]), "13");
    assert_eq!(server.stop(), Some(0));
    let dir = place.root().join("kernel");
    let output = run(&["verify", dir.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn a_vat_that_loops_ends_alone_and_the_service_goes_on() {
    let folder = bank();
    let Served { server, .. } = serve(folder.path(), &["--instructions", "50000000"]);
    let output = server.call(&["loop"]);
    assert!(stderr(&output).contains("vat terminated"), "{}", stderr(&output));
    let output = server.call(&["total"]);
    assert!(stderr(&output).contains("vat terminated"), "{}", stderr(&output));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_root_is_served_by_its_name() {
    let folder = Folder::new(&[
        (
            "bootstrap.js",
            "import { Far } from '@endo/far';\nexport const buildRootObject = () => Far('root', { bootstrap() {} });\n",
        ),
        ("vat-bank.js", BANK),
    ]);
    let Served { server, .. } = serve(folder.path(), &["--root", "bank"]);
    assert_eq!(server.ask(&["add", "2"]), "2");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn commands_go_to_who_takes_them() {
    let folder = Folder::new(&[
        (
            "bootstrap.js",
            "import { E, Far } from '@endo/far';
export const buildRootObject = () => Far('root', { bootstrap: (vats, devices) => E(vats.desk).open(devices.command) });
",
        ),
        (
            "vat-desk.js",
            "import { Far } from '@endo/far';
export const buildRootObject = ({ D }) => {
  let waiting;
  return Far('root', {
    open(device) {
      D(device).registerInboundHandler(Far('desk', {
        inbound(count, { say, wait }) {
          if (say === undefined) return D(device).sendResponse(count, true, 'nothing was said');
          if (wait) return void (waiting = count);
          if (waiting !== undefined) D(device).sendResponse(waiting, false, { after: say });
          waiting = undefined;
          D(device).sendBroadcast({ said: say });
          D(device).sendResponse(count, false, { heard: say });
        },
      }));
    },
  });
};
",
        ),
    ]);
    let Served { place, server } = serve(folder.path(), &["--device", "command"]);
    assert_eq!(server.ask(&["command", r#"{"say":"hello"}"#]), r#"{"heard":"hello"}"#);
    let output = server.call(&["command", "{}"]);
    assert!(stderr(&output).contains("Error: nothing was said"), "{}", stderr(&output));
    let output = server.call(&["command"]);
    assert!(stderr(&output).contains("takes one argument"), "{}", stderr(&output));
    // Answered by what comes of another call.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| server.ask(&["command", r#"{"say":"a","wait":true}"#]));
        while !waits.is_finished() {
            server.ask(&["command", r#"{"say":"b"}"#]);
        }
        assert_eq!(waits.join().expect("an answer"), r#"{"after":"b"}"#);
    });
    assert!(server.log().contains(r#"broadcast {"said":"hello"}"#), "{}", server.log());
    assert_eq!(server.stop(), Some(0));
    let dir = place.root().join("kernel");
    let output = run(&["verify", dir.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

/// The folder's own `http` may lay out its JSON as it likes: in the ledger a result is one line, and that is what is sent.
#[test]
fn a_result_is_one_line() {
    let folder = Folder::new(&[
        (
            "bootstrap.js",
            "import { Far } from '@endo/far';\nexport const buildRootObject = () => Far('root', { bootstrap() {} });\n",
        ),
        (
            "vat-http.js",
            "import { Far } from '@endo/far';
export const buildRootObject = ({ D }) => Far('http', {
  connect(device) { D(device).methods('[\"sum\"]'); },
  call: () => ' {\\n\"result\":\\r\\n[1,\\t2]}\\n',
});
",
        ),
    ]);
    let Served { place, server } = serve(folder.path(), &[]);
    assert_eq!(server.ask(&["sum"]), "{ \"result\":  [1,\t2]}");
    assert_eq!(server.stop(), Some(0));
    let dir = place.root().join("kernel");
    let output = run(&["verify", dir.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    drop(again(&place, folder.path(), &[]));
}
