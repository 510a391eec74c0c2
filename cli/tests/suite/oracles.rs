//! Oracles: real questions to a real little server, and replays that ask nobody.

use crate::support::{Place, Server, example, run, stderr, stdout};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// A little web server, which is gone when it is dropped.
struct Web {
    at: String,
    asked: Arc<AtomicUsize>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    fn serve() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address").to_string();
        let (asked, closing) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, closed) = (asked.clone(), closing.clone());
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                if closed.load(Ordering::Relaxed) {
                    break;
                }
                count.fetch_add(1, Ordering::Relaxed);
                // Kept open, and never answered.
                silent.extend(answer(stream));
            }
        });
        Web { at, asked, closing, thread: Some(thread) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// The argument of a call.
    fn arg(&self, path: &str) -> String {
        format!("\"{}\"", self.url(path))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.at);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers a request; gives the connection back if it is one that gets no answer.
fn answer(stream: TcpStream) -> Option<TcpStream> {
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next()?.ok()?;
    let mut headers = BTreeMap::new();
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        headers.insert(name.to_owned(), value.to_owned());
    }
    let (status, more, body) = match request.split(' ').nth(1)? {
        "/price" => ("200 OK", "content-type: application/json\r\n", "{\"price\":42.5}".to_owned()),
        "/headers" => ("200 OK", "", format!("{headers:?}")),
        "/moved" => ("302 Found", "location: /price\r\n", String::new()),
        "/large" => ("200 OK", "", "x".repeat((1 << 20) + 1)),
        "/silent" => return Some(stream),
        _ => ("404 Not Found", "", "nothing here".to_owned()),
    };
    let _ = write!(&stream, "HTTP/1.1 {status}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    None
}

/// Both audits pass: of the running server, and of its directory after its end.
fn audit(place: &Place, server: Server) {
    let output = run(&["verify", &server.url]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(server.stop(), Some(0));
    let output = run(&["verify", place.dir().to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

/// A call that must fail: its error.
fn fail(server: &Server, args: &[&str]) -> String {
    let output = server.call(args);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{args:?}");
    let text = stderr(&output);
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("ERROR: ").unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn the_example_is_replayed_without_asking() {
    let web = Web::serve();
    let place = Place::new("oracle.js", &example("oracle.js"));
    let server = place.serve(&["--allow-net", &web.at]);
    let (first, second) = (server.ask(&["random"]), server.ask(&["random"]));
    let chance = |text: &str| text.parse::<f64>().is_ok_and(|number| (0.0..1.0).contains(&number));
    assert!(chance(&first) && chance(&second) && first != second, "{first} {second}");
    assert!(server.ask(&["time"]).starts_with("\"20"));
    assert_eq!(server.ask(&["get", &web.arg("/price")]), "{\"price\":42.5}");
    assert_eq!(fail(&server, &["get", &web.arg("/else")]), format!("Error: {}: 404 Not Found", web.url("/else")));
    let answers = server.ask(&["answers"]);
    assert!(answers.contains(&first) && answers.contains("42.5"), "{answers}");
    assert_eq!(web.asked(), 2);
    server.kill();

    let again = place.serve(&["--allow-net", &web.at]);
    assert_eq!(again.ask(&["answers"]), answers);
    assert_eq!(run(&["verify", &again.url]).status.code(), Some(0));
    assert_eq!(web.asked(), 2, "a replay asks nobody");
    drop(web);
    assert_eq!(again.ask(&["answers"]), answers);
    let third = again.ask(&["random"]);
    assert!(chance(&third) && third != first && third != second, "{third}");
    again.kill();

    let last = place.serve(&[]);
    assert_eq!(last.ask(&["answers"]), format!("{},{third}]", answers.trim_end_matches(']')));
    audit(&place, last);
}

#[test]
fn the_log_marks_what_has_to_be_trusted() {
    let web = Web::serve();
    let place = Place::new("oracle.js", &example("oracle.js"));
    let server = place.serve(&["--allow-net", &web.at]);
    server.ask(&["get", &web.arg("/price")]);
    fail(&server, &["get", "\"http://example.org/\""]);
    server.ask(&["answers"]);
    let text = stdout(&run(&["log", &server.url]));
    let marked: Vec<&str> = text.lines().filter(|line| line.contains("oracle (trusted)")).map(str::trim_start).collect();
    let refusal = "{\"error\":{\"name\":\"HostNotAllowedError\",\"message\":\"example.org:80 is not allowed: the operator has to \
        start the backend with --allow-net example.org:80\"}}";
    let shown: String = refusal.chars().take(60).collect();
    assert_eq!(marked, ["oracle (trusted): {\"value\":{\"price\":42.5}}", &format!("oracle (trusted): {shown}…")], "{text}");
    let text = stdout(&run(&["log", &server.url, "--json"]));
    let asked: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["oracles"].take())
        .filter(|oracles| !oracles.is_null())
        .collect();
    let expected = format!("[[{{\"value\":{{\"price\":42.5}}}}],[{refusal}]]");
    assert_eq!(serde_json::Value::from(asked), serde_json::from_str::<serde_json::Value>(&expected).expect("JSON"));
}

/// What oracles may do, and what not.
const PROBE: &str = "
    let touched = 0
    let begun
    exports.init = async () => { begun = await System.oracle(() => Math.random()) }
    exports.begun = () => begun
    exports.touch = async () => { await System.oracle(() => { touched += 1 }); return touched }
    exports.text = url => System.oracle(async () => (await fetch(url)).text())
    exports.head = url => System.oracle(async () => {
      const { status, statusText, ok, url: from, headers } = await fetch(url, { headers: { 'x-question': 'why' } })
      return [status, statusText, ok, from, headers.get('Location')]
    })
    exports.caught = url => System.oracle(() => fetch(url).catch(error => 'caught ' + error.name))
    exports.several = () => Promise.all([1, 2, 3].map(n => System.oracle(() => n * 10)))
    exports.nothing = async () => await System.oracle(() => {}) === undefined
    exports.nested = () => System.oracle(() => System.oracle(() => 1))
    exports.large = () => System.oracle(() => 'x'.repeat(1 << 20))
    exports.throws = () => System.oracle(() => { throw new RangeError('no') })
    exports.survives = async url => {
      const why = await System.oracle(async () => (await fetch(url)).text()).catch(error => error.name)
      touched = 100
      return why
    }
    exports.spin = () => System.oracle(() => { for (;;) Date.now() })
    exports.sleep = ms => System.oracle(() => new Promise(resolve => setTimeout(() => resolve('slept'), ms)))
    exports.say = () => System.oracle(() => console.log('hello\\nthere'))
    exports.file = () => System.oracle(() => System.files.readFile('/dat.json'))
    exports.outside = () => typeof fetch
";

#[test]
fn what_an_oracle_can_do_and_what_not() {
    let web = Web::serve();
    let place = Place::new("probe.js", PROBE);
    let server = place.serve(&["--allow-net", &web.at]);
    let begun = server.ask(&["begun"]);
    assert_ne!(begun, "0");
    assert_eq!(server.ask(&["touch"]), "0", "an oracle's effects stay in its fork");
    assert_eq!(server.ask(&["several"]), "[10,20,30]");
    assert_eq!(server.ask(&["nothing"]), "true");
    assert_eq!(server.ask(&["outside"]), "\"undefined\"");
    assert_eq!(server.ask(&["sleep", "20"]), "\"slept\"");
    let moved = format!("[302,\"Found\",false,\"{}\",\"/price\"]", web.url("/moved"));
    assert_eq!(server.ask(&["head", &web.arg("/moved")]), moved);
    let sent = server.ask(&["text", &web.arg("/headers")]);
    assert!(!sent.contains("accept-encoding") && !sent.contains("cookie") && sent.contains(&web.at), "{sent}");

    assert_eq!(fail(&server, &["nested"]), "NestedOracleError: An oracle cannot ask another one");
    assert_eq!(
        fail(&server, &["large"]),
        "OracleResultTooLargeError: The oracle's value takes 1048578 bytes of JSON; the limit is 1048576"
    );
    assert_eq!(
        fail(&server, &["text", &web.arg("/large")]),
        "OracleResultTooLargeError: The response takes more than 1048576 bytes"
    );
    assert_eq!(fail(&server, &["throws"]), "RangeError: no");
    let asked = web.asked();
    assert_eq!(server.ask(&["survives", "\"http://127.0.0.1:1/\""]), "\"HostNotAllowedError\"");
    assert_eq!(
        fail(&server, &["text", "\"https://example.org/\""]),
        "HostNotAllowedError: example.org:443 is not allowed: the operator has to start the backend with --allow-net \
         example.org:443"
    );
    let user = format!("\"http://{}@example.org/\"", web.at);
    assert!(fail(&server, &["text", &user]).starts_with("TypeError: fetch failed: "));
    assert_eq!(web.asked(), asked);
    assert!(fail(&server, &["file"]).starts_with("OracleError: "));
    server.ask(&["say"]);
    assert_eq!(server.ask(&["touch"]), "100");
    let log = server.kill_and_log();
    assert!(log.contains("(oracle) hello") && log.contains("there"), "{log}");

    drop(web);
    let again = place.serve(&[]);
    assert_eq!(again.ask(&["begun"]), begun);
    assert_eq!(again.ask(&["touch"]), "100");
    audit(&place, again);
}

#[test]
fn an_oracle_has_a_deadline() {
    let web = Web::serve();
    let place = Place::new("probe.js", PROBE);
    let server = place.serve(&["--allow-net", &web.at, "--oracle-timeout-ms", "300"]);
    let late = "OracleTimeoutError: The oracle took longer than 300 milliseconds";
    assert_eq!(fail(&server, &["text", &web.arg("/silent")]), late);
    assert_eq!(fail(&server, &["caught", &web.arg("/silent")]), late);
    assert_eq!(fail(&server, &["spin"]), late);
    assert_eq!(fail(&server, &["sleep", "1e9"]), late);
    assert_eq!(server.ask(&["survives", &web.arg("/silent")]), "\"OracleTimeoutError\"");
    assert_eq!(server.ask(&["touch"]), "100");
    server.kill();
    drop(web);
    let again = place.serve(&[]);
    assert_eq!(again.ask(&["touch"]), "100");
    audit(&place, again);
}

#[test]
fn hosts_that_cannot_be_allowed() {
    let place = Place::new("oracle.js", &example("oracle.js"));
    for host in ["*", "*.example.org", "http://example.org", "::1", "example.org:0", "127.1", ""] {
        let output = place.exec(&["--allow-net", host]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{host}");
        assert!(stderr(&output).contains("--allow-net"), "{}", stderr(&output));
    }
    assert!(!place.dir().exists());
}
