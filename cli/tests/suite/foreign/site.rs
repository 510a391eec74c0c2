//! A sandbox, and curl.

use super::tools::{attempt, output};
use crate::bundles::client::Answer;
use crate::bundles::place::{App, Place, Sandbox, eventually};
use crate::support::{run, stderr, stdout};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A sandbox that runs, with its workspace.
pub struct Site {
    pub place: Place,
    sandbox: Sandbox,
    url: String,
}

/// Who asks: files with a certificate and a key.
#[derive(Clone)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Pair {
    /// `NAME_cert.pem` and `NAME_privk.pem`
    pub fn of(folder: &Path, name: &str) -> Pair {
        Pair { cert: folder.join(format!("{name}_cert.pem")), key: folder.join(format!("{name}_privk.pem")) }
    }

    pub fn pem(&self) -> String {
        std::fs::read_to_string(&self.cert).expect("a certificate")
    }

    /// The id that it has as a user or member, as openssl computes it.
    pub fn id(&self) -> String {
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&self.cert);
        let line = String::from_utf8(output(command, b"")).expect("text");
        line.trim().split_once('=').expect("a fingerprint").1.replace(':', "").to_lowercase()
    }
}

impl Site {
    /// Serves the folder of a bundle.
    pub fn serve(bundle: &Path, args: &[&str]) -> Site {
        let place = Place::new(&App::default());
        std::fs::remove_dir_all(place.folder()).expect("it was there");
        std::os::unix::fs::symlink(bundle, place.folder()).expect("a link");
        Site::at(place, args)
    }

    fn at(place: Place, args: &[&str]) -> Site {
        let sandbox = place.serve(args);
        let url = sandbox.url();
        Site { place, sandbox, url }
    }

    /// A sandbox's own people: `user0`, `member1`.
    pub fn person(&self, name: &str) -> Pair {
        Pair::of(&self.place.common(), name)
    }

    /// Where files of a test can be written.
    pub fn file(&self, name: &str) -> PathBuf {
        self.place.root().join(name)
    }

    pub fn service_cert(&self) -> PathBuf {
        self.place.common().join("service_cert.pem")
    }

    fn curl(&self, target: &str, caller: Option<&Pair>) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--include", "--max-time", "60"]).env_remove("SSLKEYLOGFILE");
        curl.arg("--cacert").arg(self.service_cert()).arg(format!("{}{target}", self.url));
        if let Some(Pair { cert, key }) = caller {
            curl.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        curl
    }

    /// A request by curl. A body makes it a POST.
    pub fn ask(&self, target: &str, caller: Option<&Pair>, headers: &[&str], body: Option<&[u8]>) -> Answer {
        self.ask_with(&[], target, caller, headers, body)
    }

    /// The same with other options of curl's.
    pub fn ask_with(
        &self,
        options: &[&str],
        target: &str,
        caller: Option<&Pair>,
        headers: &[&str],
        body: Option<&[u8]>,
    ) -> Answer {
        let mut curl = self.curl(target, caller);
        curl.args(options);
        for header in headers {
            curl.args(["--header", header]);
        }
        if body.is_some() {
            curl.args(["--data-binary", "@-"]);
        }
        parsed(&output(curl, body.unwrap_or_default()))
    }

    /// Whether curl comes through at all with that certificate.
    pub fn refuses(&self, caller: &Pair) -> bool {
        !attempt(&mut self.curl("/node/state", Some(caller)), b"").status.success()
    }

    pub fn get(&self, target: &str) -> Answer {
        self.ask(target, None, &[], None)
    }

    pub fn get_as(&self, caller: &Pair, target: &str) -> Answer {
        self.ask(target, Some(caller), &[], None)
    }

    pub fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask(target, None, &["content-type: application/json"], Some(body.to_string().as_bytes()))
    }

    pub fn post_as(&self, caller: &Pair, target: &str, body: &str) -> Answer {
        self.ask(target, Some(caller), &["content-type: text/plain"], Some(body.as_bytes()))
    }

    /// Asks until it is no longer 202.
    pub fn wait_for(&self, ask: impl Fn() -> Answer) -> Answer {
        eventually("an answer", || Some(ask()).filter(|answer| answer.status != 202))
    }

    /// Ends the sandbox. Its ledger is audited with the secret: all is executed and equal.
    pub fn audited(self) -> Place {
        self.sandbox.stop();
        let (dir, secret) = (self.place.dir(), self.place.dir().join("keys/ledger_secret"));
        let output = run(&["verify", "--json", "--ledger-secret", &secret.to_string_lossy(), &dir.to_string_lossy()]);
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["verified"], true, "{report}");
        assert_eq!(report["notExecuted"], json!([]), "{report}");
        assert_eq!(report["trusted"], json!([]), "{report}");
        self.place
    }
}

/// What `curl --include` prints.
fn parsed(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let (first, lines) = head.split_once("\r\n").unwrap_or((&head, ""));
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{first}"));
    if status == 100 {
        return parsed(&bytes[end + 4..]);
    }
    let pairs = lines.lines().filter_map(|line| line.split_once(": "));
    let headers = pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}
