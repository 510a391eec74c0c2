//! A workspace with a bundle in it, and the sandbox that serves it.

use super::client::{Answer, Client};
use super::sign;
use crate::support::{glassbox, stderr};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a test waits for at most.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// Looks again and again, until there is something to see.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(INTERVAL);
    }
}

/// A bundle: endpoints and modules.
#[derive(Clone, Default)]
pub struct App {
    endpoints: serde_json::Map<String, Value>,
    modules: Vec<(String, String)>,
}

impl App {
    /// One module, `app.js`.
    pub fn new(source: &str) -> App {
        App::default().module("app.js", source)
    }

    /// A module more, or another one in its place.
    pub fn module(mut self, name: &str, source: &str) -> App {
        self.modules.retain(|(known, _)| known != name);
        self.modules.push((name.into(), source.into()));
        self
    }

    /// `GET /path`, answered by `function` of `app.js`, for everybody. `more`: other fields, and other values of these.
    pub fn endpoint(mut self, verb_and_path: &str, function: &str, more: Value) -> App {
        let (verb, path) = verb_and_path.split_once(' ').expect("a verb and a path");
        let mut endpoint = json!({
            "js_module": "app.js", "js_function": function, "forwarding_required": "sometimes",
            "authn_policies": ["no_auth"], "mode": "readwrite",
        });
        for (name, value) in more.as_object().expect("an object") {
            endpoint[name] = value.clone();
        }
        let verbs = self.endpoints.entry(path).or_insert_with(|| json!({}));
        verbs[verb.to_lowercase()] = endpoint;
        self
    }

    pub fn write(self, verb_and_path: &str, function: &str) -> App {
        self.endpoint(verb_and_path, function, json!({}))
    }

    pub fn read(self, verb_and_path: &str, function: &str) -> App {
        self.endpoint(verb_and_path, function, json!({ "mode": "readonly" }))
    }

    /// As it stands in a proposal.
    pub fn bundle(&self) -> Value {
        let modules: Vec<Value> = self.modules.iter().map(|(name, module)| json!({ "name": name, "module": module })).collect();
        json!({ "metadata": { "endpoints": self.endpoints }, "modules": modules })
    }

    /// The proposal that deploys it.
    pub fn proposal(&self) -> Value {
        json!({ "actions": [{ "name": "set_js_app", "args": { "bundle": self.bundle() } }] })
    }

    /// Writes `app.json` and `src/`.
    pub fn save(&self, folder: &Path) {
        for (name, source) in &self.modules {
            let path = folder.join("src").join(name);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            std::fs::write(path, source).expect("written");
        }
        let app = serde_json::to_string_pretty(&json!({ "endpoints": self.endpoints })).expect("JSON");
        std::fs::write(folder.join("app.json"), app).expect("written");
    }
}

/// A workspace, and a bundle beside it.
pub struct Place {
    root: TempDir,
}

impl Place {
    pub fn new(app: &App) -> Place {
        let place = Place { root: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(place.folder()).expect("a folder");
        app.save(&place.folder());
        place
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder of the bundle.
    pub fn folder(&self) -> PathBuf {
        self.root().join("bundle")
    }

    /// The node's directory.
    pub fn dir(&self) -> PathBuf {
        self.root().join("workspace/sandbox_0")
    }

    /// Keys and certificates.
    pub fn common(&self) -> PathBuf {
        self.root().join("workspace/sandbox_common")
    }

    /// A file with keys or certificates, as text.
    pub fn pem(&self, name: &str) -> String {
        let path = self.common().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The log of the app and of its requests.
    pub fn log(&self) -> String {
        self.pem("out")
    }

    /// `sandbox`, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = glassbox();
        command.arg("sandbox").args(["--node", "127.0.0.1:0", "--workspace"]).arg(self.root().join("workspace"));
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `sandbox` with the bundle, not yet started.
    fn with_bundle(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.arg("--js-app-bundle").arg(self.folder());
        command
    }

    /// Starts a sandbox with the bundle, and waits until it serves.
    pub fn serve(&self, args: &[&str]) -> Sandbox {
        Sandbox::start(self.with_bundle(args), &self.common())
    }

    /// The same without the bundle: the app is what the ledger says.
    pub fn serve_again(&self, args: &[&str]) -> Sandbox {
        Sandbox::start(self.command(args), &self.common())
    }

    /// A start that is refused: what is said.
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.with_bundle(args).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    }
}

/// A running sandbox. It is killed with the value.
pub struct Sandbox {
    child: Child,
    pub port: u16,
    common: PathBuf,
    said: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
}

impl Sandbox {
    fn start(mut command: Command, common: &Path) -> Sandbox {
        let child = command.spawn().expect("the sandbox starts");
        let mut sandbox = Sandbox { child, port: 0, common: common.to_owned(), said: Arc::default(), errors: Arc::default() };
        collect(sandbox.child.stderr.take().expect("piped"), sandbox.errors.clone());
        collect(sandbox.child.stdout.take().expect("piped"), sandbox.said.clone());
        let banner = eventually("a sandbox that serves", || {
            let ended = sandbox.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "the sandbox ended: {ended:?}\n{}\n{}", sandbox.said(), sandbox.errors());
            Some(sandbox.said()).filter(|said| said.contains("Press Ctrl+C"))
        });
        let address = banner.lines().find_map(|line| line.trim().strip_prefix("Node [0] = ")).expect("an address");
        sandbox.port = address.rsplit_once(':').expect("a port").1.parse().expect("a number");
        sandbox
    }

    /// What it has written to stdout so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("not poisoned").clone()
    }

    /// What it has written to stderr so far.
    pub fn errors(&self) -> String {
        self.errors.lock().expect("not poisoned").clone()
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A connection without a certificate.
    pub fn client(&self) -> Client {
        Client::connect(self.port, &self.pem("service_cert.pem"), None).expect("it serves")
    }

    /// The same where it may be gone.
    pub fn try_client(&self) -> Option<Client> {
        Client::connect(self.port, &self.pem("service_cert.pem"), None).ok()
    }

    /// A connection as `user0` or `member0`.
    pub fn client_of(&self, name: &str) -> Client {
        let (cert, key) = (self.pem(&format!("{name}_cert.pem")), self.pem(&format!("{name}_privk.pem")));
        self.client_with(&cert, &key)
    }

    /// A connection with a certificate.
    pub fn client_with(&self, cert: &str, key: &str) -> Client {
        Client::connect(self.port, &self.pem("service_cert.pem"), Some((cert, key))).expect("it serves")
    }

    fn pem(&self, name: &str) -> String {
        std::fs::read_to_string(self.common.join(name)).expect("it is there")
    }

    /// Proposes as `member0`.
    pub fn propose(&self, proposal: &Value) -> Answer {
        self.govern("member0", "members/proposals:create", "proposal", None, proposal)
    }

    /// The same, which must be accepted.
    pub fn accept(&self, proposal: &Value) -> Value {
        let answer = self.propose(proposal);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let state = answer.json();
        assert_eq!(state["proposalState"], "Accepted", "{state}");
        state
    }

    /// A proposal of one action, which must be accepted.
    pub fn act(&self, name: &str, args: Value) {
        self.accept(&json!({ "actions": [{ "name": name, "args": args }] }));
    }

    /// A proposal that is refused as one that cannot be: why.
    pub fn invalid(&self, proposal: &Value) -> String {
        let answer = self.propose(proposal);
        let error = &answer.json()["error"];
        assert_eq!((answer.status, error["code"].as_str()), (400, Some("ProposalFailedToValidate")), "{}", answer.text());
        error["message"].as_str().expect("a message").to_owned()
    }

    /// A request of governance, signed by a member.
    pub fn govern(&self, member: &str, path: &str, kind: &str, proposal: Option<&str>, payload: &Value) -> Answer {
        let (key, cert) = (self.pem(&format!("{member}_privk.pem")), self.pem(&format!("{member}_cert.pem")));
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        let mut more = vec![("ccf.gov.msg.type", kind.into()), ("ccf.gov.msg.created_at", sign::now_s().into())];
        if let Some(id) = proposal {
            more.push(("ccf.gov.msg.proposal_id", id.into()));
        }
        let body = sign::cose(&key, &cert, more, payload.as_bytes());
        let target = format!("/gov/{path}?api-version=2024-07-01");
        self.client().send("POST", &target, &[("content-type", "application/cose")], &body)
    }

    /// Sends a signal, and goes on.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill starts").success());
    }

    /// `kill -9`
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, after which it must end well.
    pub fn stop(mut self) {
        self.signal("-TERM");
        let code = eventually("an end", || self.child.try_wait().expect("it can be waited for")).code();
        assert_eq!(code, Some(0), "{}", self.errors());
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what is written, so that the writer never waits.
fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = String::new();
        while from.read_line(&mut line).is_ok_and(|read| read > 0) {
            into.lock().expect("not poisoned").push_str(&std::mem::take(&mut line));
        }
    });
}
