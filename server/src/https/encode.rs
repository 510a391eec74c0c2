//! A reply as bytes, without I/O.

use super::Reply;
use super::head::is_token_byte;
use super::refusal;

/// What belongs to the connection and not to the handler.
const FRAMING: [&str; 7] = ["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// What the client learns about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    /// It stays, as is usual in HTTP/1.1.
    Stays,
    /// It stays, and must be told so: HTTP/1.0.
    StaysOld,
    /// It ends.
    Ends,
}

/// The reply, or an error in its place when it cannot be sent as it is.
pub(super) fn checked(reply: Reply) -> Reply {
    let control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    let good =
        |(name, value): &(String, String)| !name.is_empty() && name.bytes().all(is_token_byte) && !value.bytes().any(control);
    if (200..600).contains(&reply.status) && reply.headers.iter().all(good) {
        return reply;
    }
    refusal::error(500, "InternalError", "The endpoint gave a status or a header that HTTP cannot carry.")
}

/// Appends the head of a checked reply. Tells whether the body follows.
pub(super) fn head(reply: &Reply, to_head: bool, connection: Connection, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(b"HTTP/1.1 ");
    digits(reply.status.into(), out);
    out.push(b' ');
    out.extend_from_slice(reason(reply.status).as_bytes());
    for (name, value) in &reply.headers {
        let from = out.len() + 2;
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(name.as_bytes());
        out[from..].make_ascii_lowercase();
        if FRAMING.iter().any(|framing| framing.as_bytes() == &out[from..]) {
            out.truncate(from - 2);
            continue;
        }
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    let bodiless = matches!(reply.status, 204 | 304);
    if !bodiless {
        out.extend_from_slice(b"\r\ncontent-length: ");
        digits(reply.body.len(), out);
    }
    out.extend_from_slice(match connection {
        Connection::Stays => b"\r\n\r\n",
        Connection::StaysOld => b"\r\nconnection: keep-alive\r\n\r\n",
        Connection::Ends => b"\r\nconnection: close\r\n\r\n",
    });
    !bodiless && !to_head
}

fn digits(mut number: usize, out: &mut Vec<u8>) {
    let from = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[from..].reverse();
}

/// What goes with a status; nothing with those that are rare.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        422 => "Unprocessable Entity",
        423 => "Locked",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: u16, headers: &[(&str, &str)], to_head: bool, connection: Connection) -> (String, bool) {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let reply = checked(Reply { status, headers, body: b"body".to_vec() });
        let mut out = Vec::new();
        let body = head(&reply, to_head, connection, &mut out);
        (String::from_utf8(out).unwrap(), body)
    }

    #[test]
    fn the_framing_is_ours() {
        let given = [("Content-Type", "a/b"), ("Content-Length", "9"), ("transfer-encoding", "chunked"), ("CONNECTION", "close")];
        let (plain, body) = text(200, &given, false, Connection::Stays);
        assert_eq!((&plain[..], body), ("HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 4\r\n\r\n", true));
        let (old, body) = text(299, &[], true, Connection::StaysOld);
        assert_eq!((&old[..], body), ("HTTP/1.1 299 \r\ncontent-length: 4\r\nconnection: keep-alive\r\n\r\n", false));
        let (empty, body) = text(204, &[("x", "Grüße\t!")], false, Connection::Ends);
        assert_eq!((&empty[..], body), ("HTTP/1.1 204 No Content\r\nx: Grüße\t!\r\nconnection: close\r\n\r\n", false));
    }

    #[test]
    fn what_http_cannot_carry_becomes_an_error() {
        for (status, name, value) in [
            (200, "x", "a\r\nset-cookie: b"),
            (200, "x", "a\nb"),
            (200, "x", "a\rb"),
            (200, "x", "a\0b"),
            (200, "x\r\ny", "a"),
            (200, "x y", "a"),
            (200, "x:", "a"),
            (200, "ä", "a"),
            (200, "", "a"),
            (100, "x", "a"),
            (199, "x", "a"),
            (600, "x", "a"),
            (0, "x", "a"),
        ] {
            let (text, _) = text(status, &[(name, value), ("y", "z")], false, Connection::Stays);
            assert!(text.starts_with("HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\n"), "{text}");
            assert_eq!(text.lines().count(), 4, "{text}");
        }
    }
}
