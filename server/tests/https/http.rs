//! Well-formed requests.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

fn server() -> Server {
    Server::start(Limits::default(), None)
}

#[test]
fn a_request_arrives_as_it_was_sent() {
    let server = server();
    let got = server.exchange("GET /a%20b?c=%26&d HTTP/1.1\r\nHost: h:1\r\nX-A:1\r\nx-b: \t 2 3\t \r\nx-a: ä\r\nEmpty:\r\n\r\n");
    assert_eq!(got, echoed("[GET /a%20b?c=%26&d {host=h:1|x-a=1, ä|x-b=2 3|empty=} none ]"));
}

#[test]
fn the_empty_line_behind_a_body_is_skipped_once() {
    let server = server();
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(server.exchange(format!("\r\n{request}\r\n{request}")), echoed("[GET / {host=h} none ]").repeat(2));
    assert!(server.exchange(format!("\r\n\r\n{request}")).starts_with("HTTP/1.1 400 "));
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = server();
    let request = "GET /later HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
                   POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nt: u\r\n\r\n\
                   HEAD /d HTTP/1.1\r\nHost: h\r\n\r\nGET /e HTTP/1.1\r\nHost: h\r\nConnection: X, Close\r\n\r\nGET /f HTTP/1.1\r\n";
    let length = "[HEAD /d {host=h} none ]".len();
    let last = "[GET /e {host=h|connection=X, Close} none ]";
    let expected = [
        echoed("[GET /later {host=h} none ]"),
        echoed("[POST /b {host=h|content-length=3} none abc]"),
        echoed("[POST /c {host=h|transfer-encoding=chunked} none abcd]"),
        format!("HTTP/1.1 200 OK\r\nx-y: z\r\ncontent-length: {length}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx-y: z\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{last}", last.len()),
    ];
    assert_eq!(server.exchange(request), expected.concat());
}

#[test]
fn http_1_0_ends_unless_it_asks_to_stay() {
    let server = server();
    let got = server.exchange("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert_eq!(
        got,
        "HTTP/1.1 200 OK\r\nx-y: z\r\ncontent-length: 14\r\nconnection: close\r\n\r\n[GET / {} none ]".replace("14", "16")
    );
    let got = server.exchange("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert!(got.contains("\r\nconnection: keep-alive\r\n\r\n[GET / {connection=Keep-Alive} none ]HTTP/1.1 200 OK\r\n"), "{got}");
    assert!(got.ends_with("[GET / {} none ]"), "{got}");
}

#[test]
fn a_client_that_waits_is_told_to_continue() {
    let server = server();
    for framing in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
        let mut stream = server.connect();
        write!(stream, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nConnection: close\r\n{framing}\r\n\r\n").unwrap();
        assert_eq!(until(&mut stream, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(if framing.starts_with('C') { b"abc" } else { b"3\r\nabc\r\n0\r\n\r\n" }).unwrap();
        let got = rest(stream);
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with(" none abc]"), "{got}");
    }
    // Who does not wait, or has nothing to send, is not told.
    let not = |rest: &str| assert!(server.exchange(format!("POST / HTTP/1.{rest}")).starts_with("HTTP/1.1 200 OK\r\n"), "{rest}");
    not("1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    not("1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n");
    not("0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    let got = server.exchange("POST / HTTP/1.1\r\nHost: h\r\nExpect: wonders\r\nContent-Length: 3\r\n\r\nabc");
    assert!(got.starts_with("HTTP/1.1 417 Expectation Failed\r\n"), "{got}");
}

#[test]
fn a_body_and_a_reply_up_to_the_limit() {
    let server = server();
    for bytes in [0, 1, 5_000, 12_200, 12_300, 100_000, 1 << 20] {
        let body = "x".repeat(bytes);
        let got = server.exchange(format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {bytes}\r\n\r\n{body}"));
        assert!(got == echoed(&format!("[PUT / {{host=h|content-length={bytes}}} none {body}]")), "{bytes}");
        let got = server.exchange(format!(
            "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
            if bytes == 0 { String::new() } else { format!("{bytes:X}\r\n{body}\r\n") }
        ));
        assert!(got == echoed(&format!("[PUT / {{host=h|transfer-encoding=chunked}} none {body}]")), "{bytes}");
    }
}

#[test]
fn a_request_without_a_reply_is_a_503_and_the_end() {
    let server = server();
    let got = server.exchange("GET /drop HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let body = r#"{"error":{"code":"ServiceUnavailable","message":"The service cannot answer now."}}"#;
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json";
    assert_eq!(got, format!("{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()));
}

#[test]
fn a_handler_cannot_break_the_framing() {
    let handler = |incoming: Incoming, reply: ReplyTo| {
        let value = if incoming.target == "/split" { "a\r\n\r\nHTTP/1.1 200 OK" } else { "7" };
        let headers = vec![("Content-Length".into(), value.to_owned())];
        reply.send(Reply { status: 204, headers, body: b"unsent".to_vec() });
    };
    let server = Server::with(handler, Limits::default(), None);
    let get = |target| server.exchange(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!(get("/"), "HTTP/1.1 204 No Content\r\n\r\n");
    let got = get("/split");
    assert!(got.starts_with("HTTP/1.1 500 Internal Server Error\r\n") && got.contains(r#""code":"InternalError""#), "{got}");
    assert_eq!(got.matches("HTTP/1.1").count(), 1, "{got}");
}

/// Counts what the listener counts.
struct Counting(Arc<front::Sessions>);

impl front::Handler for Counting {
    fn handle(&self, incoming: Incoming, reply: ReplyTo) {
        echo(incoming, reply);
    }

    fn sessions(&self) -> Arc<front::Sessions> {
        self.0.clone()
    }
}

#[test]
fn connections_and_their_ends_are_counted() {
    let sessions = Arc::<front::Sessions>::default();
    let mut server = Server::with(Counting(sessions.clone()), Limits { connections: 5, ..Limits::default() }, None);
    let mut kept: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for stream in &mut kept {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        until(stream, "]");
    }
    let count = |counter: &AtomicU64| counter.load(SeqCst);
    assert_eq!((count(&sessions.active), count(&sessions.peak), count(&sessions.most)), (2, 2, 5));
    server.exchange("nonsense\r\n\r\n");
    server.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n");
    let large = "x".repeat(20 << 10);
    server.exchange(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {large}\r\n\r\n"));
    server.exchange(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(300)));
    let refused = [&sessions.malformed, &sessions.large_bodies, &sessions.large_heads].map(count);
    assert_eq!(refused, [1, 1, 2]);
    drop(kept);
    server.stop();
    server.join();
    assert_eq!(count(&sessions.active), 0);
    assert!((3..=5).contains(&count(&sessions.peak)));
}
