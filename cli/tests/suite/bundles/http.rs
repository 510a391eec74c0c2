//! Requests, routes, answers, and handlers that end badly.

use super::client::Client;
use super::place::{App, Place, Sandbox, eventually};
use super::session::play;
use expect_test::expect_file;
use serde_json::{Value, json};

fn web() -> App {
    App::new(include_str!("apps/web.js"))
        .read("GET /echo", "echo")
        .write("POST /echo", "echo")
        .endpoint("PUT /echo", "echo", json!({ "authn_policies": [] }))
        .read("GET /names", "names")
        .read("GET /pair/{a}:{b}", "where")
        .read("GET /item/{id}", "where")
        .write("DELETE /item/{id}", "where")
        .read("GET /item/fixed", "where")
        .read("GET /item/{id}/of/{whom}.txt", "where")
        .read("GET /twice/{x}/b", "where")
        .read("GET /twice/a/{y}", "where")
        .write("POST /reply", "reply")
        .read("POST /look", "reply")
        .read("GET /kept", "kept")
        .read("GET /no-function", "value")
        .read("GET /no-export", "missing")
        .endpoint("GET /no-policy", "echo", json!({ "authn_policies": ["member_cose_sign1"] }))
        // An app has the last word on paths that are built in.
        .read("GET /commit", "where")
}

#[test]
fn requests() {
    let place = Place::new(&web());
    let sandbox = place.serve(&[]);
    play(&mut sandbox.client(), include_str!("sessions/requests.txt"), expect_file!["sessions/requests.txt"]);
    sandbox.stop();
}

#[test]
fn replies() {
    let place = Place::new(&web());
    let sandbox = place.serve(&[]);
    play(&mut sandbox.client(), include_str!("sessions/replies.txt"), expect_file!["sessions/replies.txt"]);
    sandbox.stop();
    let output = crate::verify::verify(&[crate::verify::path(&place.dir())]);
    assert!(output.status.success(), "{}", crate::support::stderr(&output));
}

fn throws() -> App {
    let functions = [
        "throwError",
        "throwString",
        "throwObject",
        "throwNothing",
        "throwHostile",
        "unknownName",
        "badJson",
        "overflow",
        "hog",
        "hogBuffer",
        "caught",
        "loop",
        "loopInFinally",
        "never",
        "fine",
    ];
    let app = App::new(include_str!("apps/throws.js")).module("lib/deep.js", include_str!("apps/lib/deep.js"));
    functions.iter().fold(app, |app, function| {
        let app = app.write(&format!("POST /{function}"), function).read(&format!("GET /{function}"), function);
        let reused = json!({ "mode": "readonly", "interpreter_reuse": { "key": "k" } });
        app.endpoint(&format!("GET /reused/{function}"), function, reused)
    })
}

/// Limits that are reached soon.
fn limit(sandbox: &Sandbox, ms: u64, details: bool) {
    let args = json!({
        "max_heap_bytes": 20 << 20, "max_stack_bytes": 512 << 10, "max_execution_time_ms": ms,
        "return_exception_details": details, "log_exception_details": true,
    });
    sandbox.act("set_js_runtime_options", args);
}

#[test]
fn what_is_thrown() {
    let place = Place::new(&throws());
    let sandbox = place.serve(&[]);
    limit(&sandbox, 100, true);
    let mut client = sandbox.client();
    play(&mut client, include_str!("sessions/throws.txt"), expect_file!["sessions/throws.txt"]);
    // All the way down.
    let answer = client.post("/app/overflow", "");
    let details = &answer.json()["error"]["details"][0];
    assert_eq!((answer.status, &details["message"]), (500, &json!("InternalError: stack overflow")));
    let trace = details["trace"].as_str().expect("a trace");
    assert!(trace.starts_with("    at again (/app.js:"), "{trace}");
    // What is thrown goes to the log as well.
    let log = place.log();
    assert!(log.contains("Error: from wrong\n    at nested (/lib/deep.js:3)\n    at deep (/lib/deep.js:5)\n"), "{log}");

    // The trace is what the service's options say.
    limit(&sandbox, 100, false);
    let answer = client.post("/app/throwError", "");
    assert_eq!(answer.json(), json!({ "error": { "code": "InternalError", "message": "Exception thrown while executing." } }));
    sandbox.stop();
}

/// However long a handler runs, it holds up nobody who reads: others ask and are answered while it runs.
#[test]
fn a_loop_delays_no_reader() {
    let place = Place::new(&throws());
    let sandbox = place.serve(&[]);
    limit(&sandbox, 600, true);
    for (method, target, loops) in
        [("GET", "/app/loop", 1), ("GET", "/app/reused/loop", 1), ("POST", "/app/loop", 1), ("GET", "/app/loop", 6)]
    {
        let mut looping: Vec<Client> = (0..loops).map(|_| sandbox.client()).collect();
        let mut others: Vec<Client> = (0..3).map(|_| sandbox.client()).collect();
        for client in &mut looping {
            client.begin(method, target, &[], b"").expect("sent");
        }
        for other in &mut others {
            assert_eq!(other.get("/app/fine").ok().text(), "fine");
            assert_eq!(other.get("/gov/service/info?api-version=2024-07-01").status, 200);
        }
        assert!(looping.iter_mut().all(Client::is_silent), "{method} {target}: they loop on");
        for client in &mut looping {
            let answer = client.end(false).expect("an answer");
            let said = (500, "InternalError".into(), "Operation took too long to complete.".into());
            assert_eq!(answer.error(), said);
        }
    }
    sandbox.stop();
}

/// Which answers name a transaction, which writes stay, and what is claimed.
#[test]
fn what_is_written() {
    let place = Place::new(&web());
    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    let mut case = |body: &str, status: u16, named: bool, kept: &str| {
        let answer = client.post("/app/reply", body);
        assert_eq!((answer.status, answer.txid().is_some()), (status, named), "{body}: {}", answer.text());
        assert_eq!(client.get("/app/kept").ok().text(), kept, "{body}");
    };
    case("(put('1'), { statusCode: 200 })", 200, true, "1");
    case("(put('2'), { statusCode: 299 })", 299, true, "2");
    case("(put('3'), { statusCode: 400 })", 400, false, "2");
    case("(put('3'), { statusCode: 302 })", 302, false, "2");
    case("(put('3'), ccf.rpc.setApplyWrites(true), { statusCode: 500 })", 500, true, "3");
    case("(put('4'), ccf.rpc.setApplyWrites(false), { statusCode: 200 })", 200, false, "3");
    case("(ccf.rpc.setApplyWrites(false), ccf.rpc.setApplyWrites(true), put('5'), { statusCode: 404 })", 404, true, "5");
    case("(put('6'), 7)", 500, false, "5");
    case("(put('6'), ccf.rpc.setApplyWrites(true), nothing)", 500, false, "5");
    // What HTTP cannot carry is found out before anything is written.
    case("(put('6'), { headers: { 'x y': '' } })", 500, false, "5");
    case("(put('6'), { headers: { x: 'a\\r\\nset-cookie: b' } })", 500, false, "5");
    // What one request has set is not there for the next one.
    case("(put('6'), { statusCode: 400 })", 400, false, "5");
    case("({})", 200, true, "5");

    // A read names what it has seen, which a client can wait for.
    let seen = client.get("/app/kept").ok().txid().expect("a transaction");
    let wrote = client.post("/app/reply", "(put('7'), {})").ok().txid().expect("a transaction");
    assert!(wrote.seqno > seen.seqno);
    assert!(client.get("/app/kept").ok().txid().expect("a transaction").seqno >= wrote.seqno);
    assert_eq!(client.post("/app/look", "({ statusCode: 404 })").txid(), None);

    // Claims stand in the receipt.
    let claim = "(ccf.rpc.setClaimsDigest(new Uint8Array(32).fill(0xab).buffer), { statusCode: 200 })";
    let claimed = client.post("/app/reply", claim).ok().txid().expect("a transaction");
    let receipt = receipt(&mut client, claimed);
    assert_eq!(receipt["leaf_components"]["claims_digest"], "ab".repeat(32));
    let plain = client.post("/app/reply", "({})").ok().txid().expect("a transaction");
    assert_eq!(self::receipt(&mut client, plain)["leaf_components"]["claims_digest"], "00".repeat(32));
    sandbox.stop();
    let output = crate::verify::verify(&[crate::verify::path(&place.dir())]);
    assert!(output.status.success(), "{}", crate::support::stderr(&output));
}

fn receipt(client: &mut Client, txid: ledger::TxId) -> Value {
    eventually("a receipt", || {
        let answer = client.get(&format!("/app/receipt?transaction_id={txid}"));
        (answer.status == 200).then(|| answer.json())
    })
}

/// What is too large, or no HTTP. The connection ends with the answer, and others do not notice.
#[test]
fn what_is_refused_before_it_is_read() {
    let place = Place::new(&web());
    let sandbox = place.serve(&[]);
    let whole = "x".repeat(1 << 20);
    let mut client = sandbox.client();
    assert_eq!(client.post("/app/echo", &whole).ok().json()["body"].as_str().map(str::len), Some(1 << 20));

    let head = |more: &str| format!("POST /app/echo HTTP/1.1\r\nhost: h\r\n{more}\r\n");
    let long = |name: &str, len: usize| format!("{name}: {}\r\n", "y".repeat(len));
    let many: String = (0..257).map(|n| format!("x{n}: y\r\n")).collect();
    let too_large = "HTTP request body is too large (max size allowed: 1048576).";
    let cases: [(&str, String, u16, &str); 22] = [
        ("a body too large", head("content-length: 1048577\r\n"), 413, too_large),
        ("far too large", head("content-length: 99999999999999999999999\r\n"), 413, too_large),
        ("in chunks", format!("{}100001\r\n{whole}y\r\n0\r\n\r\n", head("transfer-encoding: chunked\r\n")), 413, too_large),
        ("a header too large", head(&long("x", 16 << 10)), 431, "HTTP header size is too large (max size allowed: 16384)."),
        (
            "a line too long",
            format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "z".repeat(16 << 10)),
            431,
            "HTTP header size is too large",
        ),
        ("too many headers", head(&many), 431, "Too many HTTP headers (max number allowed: 256)."),
        (
            "two lengths",
            head("content-length: 1\r\ncontent-length: 2\r\n"),
            400,
            "The length of the body is told more than once.",
        ),
        ("equal lengths", head("content-length: 1, 1\r\n"), 400, "Invalid Content-Length"),
        ("a negative length", head("content-length: -1\r\n"), 400, "Invalid Content-Length"),
        ("a signed length", head("content-length: +1\r\n"), 400, "Invalid Content-Length"),
        (
            "two ways",
            head("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
            400,
            "Content-Length and Transfer-Encoding together.",
        ),
        ("unknown coding", head("transfer-encoding: gzip, chunked\r\n"), 400, "Invalid Transfer-Encoding"),
        ("chunks that are none", format!("{}zz\r\n", head("transfer-encoding: chunked\r\n")), 400, ""),
        ("a chunk without its end", format!("{}1\r\nabc\r\n", head("transfer-encoding: chunked\r\n")), 400, ""),
        ("a space before the colon", head("transfer-encoding : chunked\r\n"), 400, "Invalid character in a header's name."),
        ("a folded header", head("x: y\r\n z\r\n"), 400, "A header is continued on the next line."),
        ("a bare line feed", "GET / HTTP/1.1\nhost: h\n\n".into(), 400, "A line ends with LF instead of CRLF."),
        ("two hosts", head("host: other\r\n"), 400, "More than one Host header."),
        ("no host", "GET /app/echo HTTP/1.1\r\n\r\n".into(), 400, "No Host header."),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 400, "Invalid HTTP version"),
        ("nothing of the kind", "\x16\x03\x01 hello\r\n\r\n".into(), 400, "Invalid method."),
        ("a whole address", "GET http://evil/ HTTP/1.1\r\nhost: h\r\n\r\n".into(), 400, "Invalid target"),
    ];
    for (what, request, status, said) in cases {
        let mut client = sandbox.client();
        // The other side may close before it has read everything.
        let _ = client.write(request.as_bytes());
        let answer = client.end(false).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        match status {
            400 => {
                assert_eq!(answer.header("content-type"), Some("text/plain"), "{what}");
                let text = answer.text();
                let begins = "Unable to parse data as a HTTP request. Error message is: ";
                assert!(text.strip_prefix(begins).is_some_and(|why| why.starts_with(said)), "{what}: {text}");
            }
            _ => {
                let code = if status == 413 { "RequestBodyTooLarge" } else { "RequestHeaderTooLarge" };
                let (_, found, message) = answer.error();
                assert!(found == code && message.starts_with(said), "{what}: {message}");
            }
        }
        assert!(client.is_closed(), "{what}: the connection ends");
    }
    // No TLS at all.
    for bytes in [&b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"[..], b"\x16\x03\x01\xff\xff\0\0\0", &[0xff; 600]] {
        use std::io::{Read, Write};
        let mut plain = std::net::TcpStream::connect(("127.0.0.1", sandbox.port)).expect("it listens");
        plain.set_read_timeout(Some(super::place::PATIENCE)).expect("set");
        let _ = plain.write_all(bytes).and_then(|()| plain.shutdown(std::net::Shutdown::Write));
        let mut said = Vec::new();
        let _ = plain.read_to_end(&mut said);
        assert!(!said.starts_with(b"HTTP"), "{said:?}");
    }
    // Requests one behind the other are answered one by one.
    let two = b"GET /app/names HTTP/1.1\r\nhost: h\r\n\r\nGET /app/item/2 HTTP/1.1\r\nhost: h\r\n\r\n";
    client.write(two).expect("sent");
    assert_eq!(
        (client.end(false).expect("one").status, client.end(false).expect("two").text()),
        (200, "/app/item/{id} {\"id\":\"2\"}".into())
    );
    sandbox.stop();
}

/// Over plain HTTP there are no certificates, and everything else is the same.
#[test]
fn curl() {
    let place = Place::new(&web());
    let sandbox = place.serve(&[]);
    let curl = |args: &[&str]| {
        let mut command = std::process::Command::new("curl");
        let output = command.args(["-sS", "--cacert", "service_cert.pem"]).args(args).current_dir(place.common()).output();
        let output = output.expect("curl starts");
        assert!(output.status.success(), "curl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let at = |path: &str| format!("{}{path}", sandbox.url());
    // Scripts look for this line.
    let text = curl(&["-i", &at("/app/item/7?x=%20y")]);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n/app/item/{id} {\"id\":\"7\"}"), "{text}");
    // `Expect: 100-continue` is what curl sends for a large body; chunks for one whose length it does not know.
    std::fs::write(place.root().join("body"), "b".repeat(900 << 10)).expect("written");
    for more in [&["-H", "expect: 100-continue"][..], &["-H", "transfer-encoding: chunked"]] {
        let body = format!("@{}", place.root().join("body").display());
        let echoed: Value =
            serde_json::from_str(&curl(&[&["--data-binary", &body, &at("/app/echo")], more].concat())).expect("JSON");
        assert_eq!(echoed["body"].as_str().map(str::len), Some(900 << 10), "{more:?}");
    }
    assert_eq!(curl(&["-I", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", &at("/app/echo")]), "405 0");
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_version}", "--http2", &at("/app/names")]), "1.1");

    let hello = super::sign::openssl(&place.common(), &["version"]);
    assert!(hello.starts_with(b"OpenSSL"));
    let mut client = std::process::Command::new("openssl");
    client.args(["s_client", "-quiet", "-CAfile", "service_cert.pem", "-verify_return_error", "-connect"]);
    client.arg(format!("127.0.0.1:{}", sandbox.port)).current_dir(place.common());
    let mut client = client
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl starts");
    let request = b"GET /app/item/8 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    std::io::Write::write_all(client.stdin.as_mut().expect("piped"), request).expect("sent");
    let output = client.wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("/app/item/{id} {\"id\":\"8\"}"), "{output:?}");
    sandbox.stop();
}
