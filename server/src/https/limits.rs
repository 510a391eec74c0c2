//! What a client can make grow, and how far.

use std::time::Duration;

/// A body above this is a large one.
pub(super) const LARGE_BODY_BYTES: usize = 64 << 10;

/// The limits of a listener. The first three are CCF's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one header, name and value; also of the request line.
    pub header_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of all large bodies that are in memory at once; further ones wait before they are read.
    pub bodies_bytes: usize,
    /// Bytes of a head altogether.
    pub head_bytes: usize,
    /// How long a TLS handshake may take, and a head from its first byte on.
    pub head_timeout: Duration,
    /// How long a body may take, and how long a large one may wait for its turn.
    pub body_timeout: Duration,
    /// How long a connection may wait without a request.
    pub idle_timeout: Duration,
    /// How long a client may take to accept one reply.
    pub write_timeout: Duration,
    /// Connections at once; further ones wait in the listener's backlog.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_bytes: 16 << 10,
            headers: 256,
            body_bytes: 1 << 20,
            bodies_bytes: 256 << 20,
            head_bytes: 64 << 10,
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(30),
            connections: 10_000,
        }
    }
}
