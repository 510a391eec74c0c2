//! HTTP/1.1 over TLS for bundles: one task per connection, one request at a time.
//!
//! ```text
//! serve ─▶ connection ─▶ head, body (bytes to Incoming, no I/O) ─▶ Handler ─▶ ReplyTo ─▶ encode (Reply to bytes, no I/O)
//!              │                                                                             │
//!              └──────────────── wire: one socket, with TLS or without, and one deadline ◀───┘
//! ```
//!
//! # Invariants
//!
//! - Bytes that can be read in two ways are refused and the connection ends: nothing of it reaches the handler. How the bytes
//!   were cut into packets never matters.
//! - A request is answered before the next one of its connection is looked at, so replies leave in the order of the requests.
//! - Every buffer has a limit and every wait for a client has a deadline ([`Limits`]).
//! - What the handler replies cannot break the framing: see [`Reply`].
//!
//! # What is refused although a standard would allow it
//!
//! The server is no proxy, so a target has the form `/path?query`: absolute targets (`GET http://host/`), which would name a
//! second host, `OPTIONS *` and `CONNECT` are refused. So are `Chunked` in other letters than small ones, several
//! `content-length`s even when they are equal, and bytes beyond ASCII in a target.

mod body;
mod buffer;
mod connection;
mod encode;
mod head;
mod limits;
mod refusal;
mod serve;
mod sessions;
mod tls;
mod wire;

pub use limits::Limits;
pub use serve::serve;
pub use sessions::Sessions;
pub use tls::{TlsError, tls_config};

use std::sync::Arc;
use tokio::sync::oneshot;

/// A request, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// As sent.
    pub method: String,
    /// Path and query as sent, not decoded; begins with `/`.
    pub target: String,
    /// Names lower-cased, values trimmed, in the order of arrival; values of equal names joined by `, `.
    pub headers: Vec<(String, String)>,
    /// The content, without its transfer coding.
    pub body: Vec<u8>,
    /// DER of the client's TLS certificate. The client has proved that it has the key and nothing else.
    pub certificate: Option<Arc<[u8]>>,
}

/// What is answered.
///
/// The framing is not the handler's: `content-length`, `transfer-encoding`, `connection` and what belongs to them are left out
/// of `headers`, and a reply to `HEAD` or with status 204 or 304 loses its body. A status outside 200–599, a name that is no
/// token or a value with control characters becomes 500 `InternalError`, with none of the reply's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Without `content-length`.
    pub headers: Vec<(String, String)>,
    /// The content. For `HEAD` what `GET` would have: only its length is sent.
    pub body: Vec<u8>,
}

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Takes a request. Runs on the connection's task, so it must not block; it replies from whichever thread, now or later.
    fn handle(&self, incoming: Incoming, reply: ReplyTo);

    /// Where the listener counts. Asked once.
    fn sessions(&self) -> Arc<Sessions> {
        Arc::default()
    }
}

impl<F: Fn(Incoming, ReplyTo) + Send + Sync + 'static> Handler for F {
    fn handle(&self, incoming: Incoming, reply: ReplyTo) {
        self(incoming, reply);
    }
}

/// Where the reply to one request goes. When it is dropped unused, the client gets 503 and the connection ends.
#[derive(Debug)]
pub struct ReplyTo(oneshot::Sender<Reply>);

impl ReplyTo {
    /// Replies. Does not block; without effect when the client is gone.
    pub fn send(self, reply: Reply) {
        let _ = self.0.send(reply);
    }
}
