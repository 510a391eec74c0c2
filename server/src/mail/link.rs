//! The connections: how they are made, and what runs on them.

use super::wire::{self, Carried, Frame, Hello, Problem, Seal};
use super::{Link, Peer, Post, known};
use crate::limits;
use machine::vats::devices::mailbox;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A connection, both of whose sides have said who they are.
struct Open {
    lines: Lines,
    sink: Sink,
    by_us: bool,
    /// Which kernel the other side is.
    id: String,
    /// What it has said first.
    first: Frame,
}

/// What comes, line by line.
struct Lines {
    from: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
    seal: Option<Seal>,
}

/// Where lines go.
struct Sink {
    to: OwnedWriteHalf,
    seal: Option<Seal>,
}

impl Lines {
    /// The next line, without its newline and mark.
    async fn next(&mut self, most: usize) -> Result<&[u8], Problem> {
        self.line.clear();
        loop {
            let chunk = self.from.fill_buf().await?;
            if chunk.is_empty() {
                return Err(Problem::Closed);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let text = &chunk[..end.unwrap_or(chunk.len())];
            if self.line.len() + text.len() > most {
                return Err(Problem::Garbage("a line that is too long".into()));
            }
            self.line.extend_from_slice(text);
            let used = text.len() + usize::from(end.is_some());
            self.from.consume(used);
            if end.is_some() {
                break;
            }
        }
        match &mut self.seal {
            Some(seal) => seal.open(&self.line),
            None => Ok(&self.line),
        }
    }
}

impl Sink {
    async fn send(&mut self, line: String) -> Result<(), Problem> {
        let line = match &mut self.seal {
            Some(seal) => seal.seal(line),
            None => line,
        };
        timeout(limits::WRITE_TIMEOUT, self.to.write_all(line.as_bytes())).await.map_err(|_| Problem::Slow)?.map_err(Problem::Io)
    }
}

fn halves(stream: TcpStream) -> (Lines, Sink) {
    let _ = stream.set_nodelay(true);
    let (from, to) = stream.into_split();
    (Lines { from: BufReader::new(from), line: Vec::new(), seal: None }, Sink { to, seal: None })
}

impl Post {
    /// Connects to a peer, again and again, as long as there is no connection with it.
    pub(super) async fn dial(self: Arc<Self>, peer: Arc<Peer>, address: String) {
        let (first, most) = limits::MAIL_PAUSES;
        let mut pause = first;
        let mut complaint = String::new();
        let mut link = peer.link.subscribe();
        loop {
            if link.wait_for(Option::is_none).await.is_err() {
                return;
            }
            let began = Instant::now();
            let problem = match self.connect(&peer, &address).await {
                Ok(open) => self.carry(&peer, open).await,
                Err(problem) => problem,
            };
            let what = problem.to_string();
            if what != complaint && !matches!(problem, Problem::Twice) {
                tracing::warn!("mail with '{}' at {address}: {what}", peer.name);
                complaint = what;
            }
            if began.elapsed() > most {
                pause = first;
            }
            sleep(pause).await;
            pause = (pause * 2).min(most);
        }
    }

    async fn connect(&self, peer: &Peer, address: &str) -> Result<Open, Problem> {
        let connecting = timeout(limits::MAIL_HELLO_TIMEOUT, TcpStream::connect(address));
        let (lines, sink) = halves(connecting.await.map_err(|_| Problem::Silent)??);
        timeout(limits::MAIL_HELLO_TIMEOUT, self.greet(peer, lines, sink)).await.map_err(|_| Problem::Silent)?
    }

    /// What is said by the side that has connected.
    async fn greet(&self, peer: &Peer, mut lines: Lines, mut sink: Sink) -> Result<Open, Problem> {
        let hello = Hello::new(&self.name, &peer.name, self.id(), self.secret.is_some()).line();
        sink.send(hello.clone()).await?;
        let answer = lines.next(wire::MAX_HELLO_BYTES).await?;
        let theirs = Hello::read(answer)?;
        theirs.expect_secret(self.secret.is_some())?;
        if theirs.from != peer.name || theirs.to != self.name {
            return Err(Problem::Unwelcome(format!("it is '{}'", theirs.from.escape_debug())));
        }
        let answer = format!("{}\n", String::from_utf8_lossy(answer));
        let (mut ours, seal) = wire::seals(self.secret.as_ref(), &hello, &answer);
        if let Err(problem) = self.expect_welcome(peer, &theirs.id) {
            let _ = sink.send(ours.seal(wire::refusal(&problem))).await;
            return Err(problem);
        }
        self.open(lines, sink, (ours, seal), theirs.id, true).await
    }

    /// Takes connections, until the task is dropped.
    pub(super) async fn listen(self: Arc<Self>, listener: TcpListener) {
        let strangers = Arc::new(tokio::sync::Semaphore::new(limits::MAX_MAIL_STRANGERS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let place = strangers.clone().acquire_owned().await.expect("never closed");
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("cannot accept a connection for mail: {error}");
                    sleep(limits::MAIL_PAUSES.0).await;
                    continue;
                }
            };
            let post = self.clone();
            connections.spawn(async move {
                let (lines, sink) = halves(stream);
                let welcome = timeout(limits::MAIL_HELLO_TIMEOUT, post.welcome(lines, sink)).await;
                drop(place);
                let problem = match welcome {
                    Ok(Ok((peer, open))) => post.carry(&peer, open).await,
                    Ok(Err(problem)) => problem,
                    Err(_) => Problem::Silent,
                };
                if let Problem::Unwelcome(_) | Problem::Garbage(_) | Problem::Refused(_) = problem {
                    let what = problem.to_string();
                    let mut last = post.complaint.lock().expect("nobody panics with it");
                    if *last != what {
                        tracing::warn!("mail: a connection has ended: {what}");
                        *last = what;
                    }
                }
            });
        }
    }

    /// What is said by the other side.
    async fn welcome(&self, mut lines: Lines, mut sink: Sink) -> Result<(Arc<Peer>, Open), Problem> {
        let first = lines.next(wire::MAX_HELLO_BYTES).await?;
        let checked = Hello::read(first).and_then(|hello| {
            hello.expect_secret(self.secret.is_some())?;
            if hello.to != self.name {
                return Err(Problem::Unwelcome(format!("this is '{}', not '{}'", self.name, hello.to.escape_debug())));
            }
            let peer = self.peers.get(&hello.from);
            let peer = peer.ok_or_else(|| Problem::Unwelcome(format!("'{}' is not known here", hello.from.escape_debug())))?;
            self.expect_welcome(peer, &hello.id)?;
            Ok((peer.clone(), hello.id))
        });
        let (peer, id) = match checked {
            Ok(known) => known,
            Err(problem) => {
                // The problem is the one to report, however this ends.
                let _ = sink.send(wire::refusal(&problem)).await;
                return Err(problem);
            }
        };
        let first = format!("{}\n", String::from_utf8_lossy(first));
        let second = Hello::new(&self.name, &peer.name, self.id(), self.secret.is_some()).line();
        sink.send(second.clone()).await?;
        let (theirs, ours) = wire::seals(self.secret.as_ref(), &first, &second);
        let open = self.open(lines, sink, (ours, theirs), id, false).await?;
        Ok((peer, open))
    }

    /// The first frames, which show that both sides know the secret.
    async fn open(&self, lines: Lines, sink: Sink, seals: (Seal, Seal), id: String, by_us: bool) -> Result<Open, Problem> {
        let (mut lines, mut sink) = (Lines { seal: Some(seals.1), ..lines }, Sink { seal: Some(seals.0), ..sink });
        sink.send(Carried::default().empty()).await?;
        let first = Frame::first(lines.next(limits::MAX_MAIL_FRAME_BYTES).await?)?;
        Ok(Open { lines, sink, by_us, id, first })
    }

    /// Carries mail on a connection, until it ends or another one takes its place.
    async fn carry(&self, peer: &Peer, open: Open) -> Problem {
        let Open { mut lines, mut sink, by_us, id, first } = open;
        let this = Link { number: self.links.fetch_add(1, Relaxed), by_us };
        let ours_stay = self.name < peer.name;
        let ours = Some(this);
        let is_in = peer.link.send_if_modified(|current| {
            let stays = current.is_some_and(|current| current.by_us != by_us && current.by_us == ours_stay);
            if !stays {
                *current = ours;
            }
            !stays
        });
        if !is_in {
            return Problem::Twice;
        }
        tracing::info!("mail with '{}': connected", peer.name);
        let mut link = peer.link.subscribe();
        let problem = tokio::select! {
            _ = link.wait_for(|current| *current != ours) => Problem::Twice,
            problem = self.read(peer, this, &id, &mut lines, first) => problem,
            problem = self.write(peer, &id, &mut sink) => problem,
        };
        peer.link.send_if_modified(|current| {
            let is_ours = *current == ours;
            if is_ours {
                *current = None;
            }
            is_ours
        });
        problem
    }

    async fn read(&self, peer: &Peer, link: Link, id: &str, lines: &mut Lines, first: Frame) -> Problem {
        peer.put(link, id, first).await;
        loop {
            let line = match timeout(limits::MAIL_SILENCE, lines.next(limits::MAX_MAIL_FRAME_BYTES)).await {
                Ok(Ok(line)) => line,
                Ok(Err(problem)) => return problem,
                Err(_) => return Problem::Silent,
            };
            match Frame::read(line) {
                Ok(frame) => peer.put(link, id, frame).await,
                Err(problem) => return problem,
            }
        }
    }

    async fn write(&self, peer: &Peer, id: &str, sink: &mut Sink) -> Problem {
        let mut outgoing = self.outgoing.clone();
        let mut carried = Carried::default();
        let nothing = mailbox::Peer::default();
        loop {
            // One snapshot is kept while it is written, whatever comes meanwhile.
            let now = outgoing.borrow_and_update().clone();
            let there = known(&now, &peer.name).unwrap_or(&nothing);
            // With the hello it may not have been known yet.
            if let Err(problem) = self.expect_same(peer, there, id) {
                return problem;
            }
            while let Some(frame) = carried.next(there) {
                if let Err(problem) = sink.send(frame).await {
                    return problem;
                }
            }
            drop(now);
            match timeout(limits::MAIL_HEARTBEAT, outgoing.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Problem::Closed,
                Err(_) => {
                    if let Err(problem) = sink.send(carried.empty()).await {
                        return problem;
                    }
                }
            }
        }
    }
}
