//! Requests that are refused: nothing behind them is looked at.

use super::*;
use std::time::Instant;

/// Sends the request with another one behind it, and gives the status and the body of the only reply.
fn refused(server: &Server, request: impl AsRef<[u8]>) -> (String, String) {
    let behind = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let got = server.exchange([request.as_ref(), behind].concat());
    let (head, body) = got.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{got:?}"));
    assert!(head.contains("\r\nconnection: close") && !got.contains("/smuggled"), "{got}");
    assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{got}");
    (head.split(' ').nth(1).unwrap().into(), body.into())
}

fn malformed(server: &Server, request: impl AsRef<[u8]>, reason: &str) {
    let (status, body) = refused(server, &request);
    let request = String::from_utf8_lossy(request.as_ref()).into_owned();
    let expected = format!("Unable to parse data as a HTTP request. Error message is: {reason}");
    assert_eq!((&status[..], body), ("400", expected), "{request:?}");
}

#[test]
fn request_lines() {
    let server = Server::start(Limits::default(), None);
    for (line, reason) in [
        ("GET /", "The request line has no HTTP version."),
        ("GET", "The request line has no target."),
        ("GET  / HTTP/1.1", "The request line has more than three parts."),
        ("GET /  HTTP/1.1", "The request line has more than three parts."),
        ("GET / HTTP/1.1 ", "The request line has more than three parts."),
        ("GET / HTTP/1.2", "Invalid HTTP version: 1.1 is expected."),
        ("GET / HTTP/2.0", "Invalid HTTP version: 1.1 is expected."),
        ("GET / http/1.1", "Invalid HTTP version: 1.1 is expected."),
        ("GET / HTTP/1.10", "Invalid HTTP version: 1.1 is expected."),
        ("PRI * HTTP/2.0", "Invalid HTTP version: 1.1 is expected."),
        ("OPTIONS * HTTP/1.1", "Invalid target: a path with an optional query is expected."),
        ("GET http://h/ HTTP/1.1", "Invalid target: a path with an optional query is expected."),
        ("GET a HTTP/1.1", "Invalid target: a path with an optional query is expected."),
        ("GET /#a HTTP/1.1", "Invalid target: a path with an optional query is expected."),
        ("CONNECT h:443 HTTP/1.1", "Invalid target: a path with an optional query is expected."),
        ("GET /ä HTTP/1.1", "Invalid character in the target."),
        ("GET /\ta HTTP/1.1", "Invalid character in the target."),
        ("GET /\0 HTTP/1.1", "Invalid character in the target."),
        ("GET /\ra HTTP/1.1", "Invalid character in the target."),
        ("GET\t/ HTTP/1.1", "Invalid method."),
        (" GET / HTTP/1.1", "Invalid method."),
        ("G(T / HTTP/1.1", "Invalid method."),
        ("\0", "Invalid method."),
        ("\x16\x03\x01\x02", "Invalid method."),
    ] {
        malformed(&server, format!("{line}\r\nHost: h\r\n\r\n"), reason);
    }
    malformed(&server, "GET / HTTP/1.1\nHost: h\r\n\r\n", "A line ends with LF instead of CRLF.");
    malformed(&server, "GET /\n", "A line ends with LF instead of CRLF.");
    malformed(&server, "GET /\r\n\r\n", "The request line has no HTTP version.");
}

#[test]
fn headers() {
    let server = Server::start(Limits::default(), None);
    let host = "Invalid Host header value.";
    let twice = "The length of the body is told more than once.";
    let both = "Content-Length and Transfer-Encoding together.";
    let length = "Invalid Content-Length header value.";
    let coding = "Invalid Transfer-Encoding header value.";
    let name = "Invalid character in a header's name.";
    let value = "Invalid character in a header's value.";
    let lf = "A line ends with LF instead of CRLF.";
    for (headers, reason) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", both),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", both),
        ("Content-Length: 4\r\nContent-Length: 4", twice),
        ("Content-Length: 4\r\ncontent-length: 5", twice),
        ("Content-Length: 4, 4", length),
        ("Content-Length: +4", length),
        ("Content-Length: -4", length),
        ("Content-Length: 0x4", length),
        ("Content-Length: 4 4", length),
        ("Content-Length: 4.0", length),
        ("Content-Length:", length),
        ("Content-Length: ٤", length),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", twice),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", twice),
        ("Transfer-Encoding: gzip, chunked", coding),
        ("Transfer-Encoding: chunked, chunked", coding),
        ("Transfer-Encoding: identity", coding),
        ("Transfer-Encoding: Chunked", coding),
        ("Transfer-Encoding: \"chunked\"", coding),
        ("Transfer-Encoding: xchunked", coding),
        ("Transfer-Encoding: chunked;x", coding),
        ("Transfer-Encoding:", coding),
        ("Transfer-Encoding: chunked\x0b", value),
        ("Transfer-Encoding : chunked", name),
        ("Transfer-Encoding\t: chunked", name),
        ("Content-Length : 4", name),
        ("Content\0Length: 4", name),
        (": a", name),
        ("ä: a", name),
        ("a b: c", name),
        ("no colon", "A header has no colon."),
        ("A: b\r\n c", "A header is continued on the next line."),
        ("A: b\r\n\tc", "A header is continued on the next line."),
        (" A: b", "A header is continued on the next line."),
        ("A: b\nTransfer-Encoding: chunked", lf),
        ("A: b\n\r\n", lf),
        ("A: b\rTransfer-Encoding: chunked", value),
        ("A: b\r", value),
        ("A: b\0", value),
        ("A: b\x7f", value),
        ("Host: h", "More than one Host header."),
        ("host: other", "More than one Host header."),
    ] {
        malformed(&server, format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n"), reason);
    }
    malformed(&server, "GET / HTTP/1.1\r\n\r\n", "No Host header.");
    for bad in ["a b", "a/b", "h, h", "ä", "h\"", "u@h"] {
        malformed(&server, format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n"), host);
    }
    malformed(&server, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding in HTTP/1.0.");
    malformed(&server, b"GET / HTTP/1.1\r\nHost: h\r\nA: \xff\r\n\r\n", "A header's value is not UTF-8.");
}

#[test]
fn chunks() {
    let server = Server::start(Limits::default(), None);
    let size = "Invalid character in chunk size.";
    for (body, reason) in [
        ("3 \r\nabc\r\n0\r\n\r\n", size),
        ("0x3\r\nabc\r\n0\r\n\r\n", size),
        ("-1\r\nabc\r\n0\r\n\r\n", size),
        ("\r\nabc\r\n0\r\n\r\n", size),
        ("10000000000000003\r\nabc\r\n0\r\n\r\n", size),
        ("3\nabc\r\n0\r\n\r\n", "A line ends with LF instead of CRLF."),
        ("3;a\nabc\r\n0\r\n\r\n", "A line ends with LF instead of CRLF."),
        ("2\r\nabc\r\n0\r\n\r\n", "A chunk is longer than its size."),
        ("0\r\n\n", "A line ends with LF instead of CRLF."),
    ] {
        malformed(&server, format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), reason);
    }
}

fn error(server: &Server, request: &str, status: &str, code: &str, message: &str) {
    let (got, body) = refused(server, request);
    assert_eq!(got, status, "{body}");
    assert_eq!(body, format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#));
}

#[test]
fn too_much() {
    let server = Server::start(Limits::default(), None);
    let start = "POST / HTTP/1.1\r\nHost: h\r\n";
    let header = "HTTP header size is too large (max size allowed: 16384).";
    let large = |request: String, message| error(&server, &request, "431", "RequestHeaderTooLarge", message);
    large(format!("{start}A: {}\r\n\r\n", "x".repeat(16_382)), header);
    large(format!("{start}{}: a\r\n\r\n", "x".repeat(16_382)), header);
    large(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(16_384)), header);
    large(format!("{start}{}\r\n", "a:b\r\n".repeat(256)), "Too many HTTP headers (max number allowed: 256).");
    let head = "HTTP header size is too large (max size allowed: 65536).";
    large(format!("{start}{}", format!("A: {}\r\n", "x".repeat(16_000)).repeat(5)), head);
    large("x".repeat(100_000), head);

    let fits = format!("{start}A: {}\r\n\r\n", "x".repeat(16_381));
    assert!(server.exchange(fits).starts_with("HTTP/1.1 200 "));
    assert!(server.exchange(format!("{start}{}\r\n", "a:b\r\n".repeat(255))).starts_with("HTTP/1.1 200 "));

    let message = "HTTP request body is too large (max size allowed: 1048576).";
    let large = |headers: String| error(&server, &format!("{start}{headers}"), "413", "RequestBodyTooLarge", message);
    large("Content-Length: 1048577\r\n\r\n".into());
    large("Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n".into());
    large("Content-Length: 99999999999999999999999999999999\r\n\r\n".into());
    large(format!("Content-Length: 2000000\r\n\r\n{}", "x".repeat(2_000_000)));
    large("Transfer-Encoding: chunked\r\n\r\n100001\r\n".into());
    large(format!("Transfer-Encoding: chunked\r\n\r\n100000\r\n{}\r\n1\r\n", "x".repeat(1 << 20)));
}

#[test]
fn who_is_slow_is_cut_off() {
    let limits = Limits {
        head_timeout: Duration::from_millis(100),
        body_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(1_000),
        ..Limits::default()
    };
    let server = Server::start(limits, None);
    for (first, drip) in [
        ("", ""),
        ("GET / HTTP/1.1\r\nA: ", "x"),
        ("\r", ""),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n", "x"),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ] {
        let mut stream = server.connect();
        stream.write_all(first.as_bytes()).unwrap();
        let mut other = stream.try_clone().unwrap();
        let drip = std::thread::spawn(move || {
            while !drip.is_empty() && other.write_all(drip.as_bytes()).is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let start = Instant::now();
        // Either the end or, because of what was still on its way, a reset.
        assert!(matches!(stream.read(&mut [0; 100]), Ok(0) | Err(_)), "{first}");
        let (least, most) = if first.is_empty() { (990, 5_000) } else { (90, 900) };
        let took = start.elapsed().as_millis();
        assert!((least..most).contains(&took), "{first:?}: {took} ms");
        drop(stream);
        drip.join().unwrap();
    }
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::start(Limits { connections: 2, ..Limits::default() }, None);
    let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut open: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    for stream in &mut open {
        stream.write_all(request).unwrap();
    }
    until(&mut open[0], "]");
    until(&mut open[1], "]");
    open[2].set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(open[2].read(&mut [0]).is_err());
    drop(open.remove(0));
    until(&mut open[1], "]");
}

#[test]
fn large_bodies_wait_for_each_other() {
    let limits = Limits { bodies_bytes: 1 << 20, body_timeout: Duration::from_secs(5), ..Limits::default() };
    let server = Server::start(limits, None);
    let body = "x".repeat(100_000);
    let length = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{body}");
    let chunks = format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n{body}\r\n0\r\n\r\n");
    for (first, second) in [(&length, &chunks), (&chunks, &length)] {
        let (start, end) = first.split_at(90_000);
        let mut one = server.connect();
        one.write_all(start.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let mut two = server.connect();
        two.write_all(second.as_bytes()).unwrap();
        two.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(two.read(&mut [0]).is_err());
        assert!(server.exchange("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").ends_with(" none abc]"));
        one.write_all(end.as_bytes()).unwrap();
        until(&mut one, "x]");
        two.set_read_timeout(None).unwrap();
        until(&mut two, "x]");
    }
    let mut one = server.connect();
    one.write_all(&length.as_bytes()[..90_000]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(one);
    assert!(server.exchange(&length).ends_with("x]"));
}
