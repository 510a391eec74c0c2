//! One socket, with TLS or without, and one deadline for whatever is waited for.
//!
//! # Invariants
//!
//! - Reading costs one system call when there is something, writing one as long as the socket takes it.
//! - A deadline that moves away costs nothing: the timer is set again only when it fires, or when the deadline comes nearer.

use super::serve::Stop;
use rustls::ServerConnection;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long a client may take to end its side of a connection that we have ended.
const LINGER: Duration = Duration::from_secs(1);

/// A connection's socket.
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
    timer: Pin<Box<Sleep>>,
    deadline: Instant,
    stop: Arc<Stop>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, tls: Option<Box<ServerConnection>>, stop: Arc<Stop>, within: Duration) -> Self {
        let deadline = Instant::now() + within;
        Wire { stream, tls, timer: Box::pin(tokio::time::sleep_until(deadline)), deadline, stop }
    }

    /// Whatever comes next must be done within this time.
    pub(super) fn within(&mut self, time: Duration) {
        self.deadline = Instant::now() + time;
    }

    /// Does the TLS handshake. The client's certificate, if it has one.
    pub(super) async fn handshake(&mut self) -> io::Result<Option<Arc<[u8]>>> {
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            if std::future::poll_fn(|cx| self.poll_fill(cx, true)).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let certificates = self.tls.as_ref().and_then(|tls| tls.peer_certificates());
        Ok(certificates.and_then(|chain| chain.first()).map(|leaf| leaf.as_ref().into()))
    }

    /// Reads; 0 is the end. An `idle` connection ends when the server stops.
    pub(super) async fn read(&mut self, into: &mut [u8], idle: bool) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, into, idle)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8], idle: bool) -> Poll<io::Result<usize>> {
        loop {
            let Some(tls) = &mut self.tls else {
                let read = Blocking { stream: &mut self.stream, cx }.read(into);
                return self.or_wait(cx, read, idle);
            };
            match tls.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The client did not say that it ends. HTTP knows by itself what is complete.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                read => return Poll::Ready(read),
            }
            if ready!(self.poll_fill(cx, idle))? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }

    /// Reads TLS records, after it has sent those that wait.
    fn poll_fill(&mut self, cx: &mut Context<'_>, idle: bool) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let tls = self.tls.as_mut().expect("called only with TLS");
        let read = tls.read_tls(&mut Blocking { stream: &mut self.stream, cx });
        if let Ok(1..) = read
            && let Err(error) = tls.process_new_packets()
        {
            // The client may learn why, unless it does not speak TLS at all.
            if !matches!(error, rustls::Error::InvalidMessage(_)) {
                let _ = tls.write_tls(&mut Blocking { stream: &mut self.stream, cx });
            }
            return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, error)));
        }
        self.or_wait(cx, read, idle)
    }

    /// Writes `parts` one after the other.
    pub(super) async fn write(&mut self, mut parts: [&[u8]; 2]) -> io::Result<()> {
        if self.tls.is_none() {
            let mut slices = parts.map(IoSlice::new);
            let mut slices = &mut slices[..];
            IoSlice::advance_slices(&mut slices, 0);
            return std::future::poll_fn(|cx| {
                while !slices.is_empty() {
                    let wrote = Blocking { stream: &mut self.stream, cx }.write_vectored(slices);
                    match ready!(self.or_wait(cx, wrote, false))? {
                        0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                        n => IoSlice::advance_slices(&mut slices, n),
                    }
                }
                Poll::Ready(Ok(()))
            })
            .await;
        }
        for part in &mut parts {
            while !part.is_empty() {
                let tls = self.tls.as_mut().expect("looked at above");
                let taken = tls.writer().write(part)?;
                *part = &part[taken..];
                if taken == 0 {
                    self.flush().await?;
                }
            }
        }
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends the TLS records that wait.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            let wrote = tls.write_tls(&mut Blocking { stream: &mut self.stream, cx });
            if ready!(self.or_wait(cx, wrote, false))? == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the connection so that the client gets what was written last: bytes that it has still sent would otherwise make
    /// the system throw that away.
    pub(super) async fn close(mut self) {
        self.within(LINGER);
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            if self.flush().await.is_err() {
                return;
            }
        }
        if std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await.is_err() {
            return;
        }
        self.tls = None;
        let mut waste = [0; 4 << 10];
        while let Ok(1..) = self.read(&mut waste, false).await {}
    }

    /// The result, or, when there is none yet, the wait for the deadline.
    fn or_wait<T>(&mut self, cx: &mut Context<'_>, result: io::Result<T>, idle: bool) -> Poll<io::Result<T>> {
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
        if idle && self.stop.is_set() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        if self.timer.deadline() > self.deadline {
            self.timer.as_mut().reset(self.deadline);
        }
        loop {
            // Not left to the timer alone: a client that sends without a pause would use up what the runtime allows the task
            // before the timer is looked at.
            if Instant::now() >= self.deadline {
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            ready!(self.timer.as_mut().poll(cx));
            self.timer.as_mut().reset(self.deadline);
        }
    }
}

/// The socket as rustls wants it: what would have to wait is an error, and the task is woken when it is worth another try.
struct Blocking<'a, 'b> {
    stream: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Blocking<'_, '_> {
    fn done<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
        match poll {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Read for Blocking<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        Self::done(Pin::new(&mut *self.stream).poll_read(self.cx, &mut into)).map(|()| into.filled().len())
    }
}

impl Write for Blocking<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::done(Pin::new(&mut *self.stream).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [one] = parts {
            // The cheaper system call.
            return self.write(one);
        }
        Self::done(Pin::new(&mut *self.stream).poll_write_vectored(self.cx, parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
