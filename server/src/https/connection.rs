//! One connection: read, hand over, await the reply, write, again.

use super::body::Chunked;
use super::buffer::Buffer;
use super::encode::{self, Connection};
use super::head::{self, Framing, Head, Scan};
use super::limits::LARGE_BODY_BYTES;
use super::refusal::Refusal;
use super::serve::Shared;
use super::wire::Wire;
use super::{Incoming, Reply, ReplyTo};
use std::io;
use std::sync::Arc;
use tokio::sync::{SemaphorePermit, oneshot};

/// Up to here a reply's body is copied behind its head, so that both go in one TLS record.
const JOINED_BYTES: usize = 12 << 10;

/// Bytes that a body gets at a time: memory follows what has arrived, not what was announced.
const BODY_STEP_BYTES: usize = 64 << 10;

/// Why a connection ends.
enum End {
    /// The client is gone or too slow, or the server stops.
    Gone,
    /// The client is told why.
    Refused(Refusal),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        End::Gone
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        End::Refused(refusal)
    }
}

/// Serves a connection until it ends.
pub(super) async fn run(mut wire: Wire, shared: &Shared) {
    // A broken handshake is its client's affair.
    let Ok(certificate) = wire.handshake().await else { return };
    let mut client = Client { wire, shared, input: Buffer::new(), output: Vec::new(), certificate };
    loop {
        match client.one().await {
            Ok(true) => {}
            Ok(false) => return client.wire.close().await,
            Err(End::Gone) => return,
            Err(End::Refused(refusal)) => {
                shared.sessions.refused(&refusal);
                if client.reply(refusal.reply(), false, Connection::Ends).await.is_ok() {
                    client.wire.close().await;
                }
                return;
            }
        }
    }
}

struct Client<'a> {
    wire: Wire,
    shared: &'a Shared,
    input: Buffer,
    output: Vec<u8>,
    certificate: Option<Arc<[u8]>>,
}

impl<'a> Client<'a> {
    /// Serves one request. Tells whether the connection stays.
    async fn one(&mut self) -> Result<bool, End> {
        let head = self.head().await?;
        // Until the reply is there, as the handler may keep the body as long.
        let (body, _room) = self.body(&head).await?;
        let to_head = head.method == "HEAD";
        let Head { method, target, headers, keep_alive, old, .. } = head;
        let (send, reply) = oneshot::channel();
        let incoming = Incoming { method, target, headers, body, certificate: self.certificate.clone() };
        self.shared.handler.handle(incoming, ReplyTo(send));
        let (reply, answered) = match reply.await {
            Ok(reply) => (encode::checked(reply), true),
            Err(_) => (Refusal::Unanswered.reply(), false),
        };
        let stays = keep_alive && answered && !self.shared.stop.is_set();
        let connection = match (stays, old) {
            (false, _) => Connection::Ends,
            (true, false) => Connection::Stays,
            (true, true) => Connection::StaysOld,
        };
        self.reply(reply, to_head, connection).await?;
        Ok(stays)
    }

    /// Reads a head.
    async fn head(&mut self) -> Result<Head, End> {
        let limits = &self.shared.limits;
        let mut scan = Scan::default();
        let mut skipped = false;
        let mut began = !self.input.is_empty();
        self.wire.within(if began { limits.head_timeout } else { limits.idle_timeout });
        loop {
            // Some clients send an empty line behind a body.
            if !skipped && self.input.filled().starts_with(b"\r\n") {
                self.input.consume(2);
                skipped = true;
            }
            let incomplete = !skipped && self.input.filled() == b"\r";
            if !incomplete && let Some(end) = scan.end(self.input.filled(), limits)? {
                let head = head::parse(&self.input.filled()[..end], limits)?;
                self.input.consume(end);
                return Ok(head);
            }
            self.more(!began).await?;
            if !began {
                began = true;
                self.wire.within(limits.head_timeout);
            }
        }
    }

    /// Reads a body.
    async fn body(&mut self, head: &Head) -> Result<(Vec<u8>, Option<SemaphorePermit<'a>>), End> {
        let mut room = match head.framing {
            Framing::Length(0) => return Ok((Vec::new(), None)),
            Framing::Length(length) if length > LARGE_BODY_BYTES => Some(self.room().await?),
            _ => None,
        };
        self.wire.within(self.shared.limits.body_timeout);
        if head.waits && self.input.is_empty() {
            self.wire.write([b"HTTP/1.1 100 Continue\r\n\r\n", b""]).await?;
        }
        match head.framing {
            Framing::Length(length) => {
                let there = self.input.filled().len().min(length);
                let mut body = self.input.filled()[..there].to_vec();
                self.input.consume(there);
                while body.len() < length {
                    let at = body.len();
                    body.resize(length.min(at + BODY_STEP_BYTES), 0);
                    let read = self.wire.read(&mut body[at..], false).await?;
                    if read == 0 {
                        return Err(End::Gone);
                    }
                    body.truncate(at + read);
                }
                Ok((body, room))
            }
            Framing::Chunked => {
                let mut chunked = Chunked::new();
                loop {
                    let used = chunked.feed(self.input.filled(), &self.shared.limits)?;
                    self.input.consume(used);
                    if let Some(body) = chunked.take() {
                        return Ok((body, room));
                    }
                    if room.is_none() && chunked.len() > LARGE_BODY_BYTES {
                        room = Some(self.room().await?);
                    }
                    self.more(false).await?;
                }
            }
        }
    }

    /// Waits until there is room for a body of the largest size.
    async fn room(&self) -> Result<SemaphorePermit<'a>, End> {
        let Shared { limits, room, .. } = self.shared;
        let bytes = u32::try_from(limits.body_bytes).unwrap_or(u32::MAX);
        match tokio::time::timeout(limits.body_timeout, room.acquire_many(bytes)).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(Refusal::Unanswered.into()),
        }
    }

    /// Reads more into the buffer.
    async fn more(&mut self, idle: bool) -> Result<(), End> {
        match self.wire.read(self.input.space(), idle).await? {
            0 => Err(End::Gone),
            read => {
                self.input.add(read);
                Ok(())
            }
        }
    }

    /// Writes a reply.
    async fn reply(&mut self, reply: Reply, to_head: bool, connection: Connection) -> Result<(), End> {
        self.wire.within(self.shared.limits.write_timeout);
        self.output.clear();
        let mut body = &reply.body[..];
        if !encode::head(&reply, to_head, connection, &mut self.output) {
            body = b"";
        }
        if body.len() <= JOINED_BYTES {
            self.output.extend_from_slice(body);
            body = b"";
        }
        self.wire.write([&self.output, body]).await?;
        Ok(())
    }
}
