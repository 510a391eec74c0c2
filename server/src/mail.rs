//! Mail between kernels on different machines, over TCP.
//!
//! ```text
//! vats ──▶ mailbox ── transaction, fsync ──▶ Outgoing ──▶ links ~~~~TCP~~~~▶ inbox ──▶ Work::Mail, in the ledger ──▶ mailbox ──▶ vats
//! ```
//!
//! # The protocol
//!
//! Lines of JSON over TCP. Either side connects; there is one connection between two kernels. Who has connected begins:
//!
//! ```text
//! {"glassbox-mail":1,"from":"b","to":"a","id":"64 hex"}    who has connected
//! {"glassbox-mail":1,"from":"a","to":"b","id":"64 hex"}    the other side; or {"refused":"why"}, and the end
//! {"messages":[],"ack":0}                                  both: the first frame; or {"refused":"why"}, and the end
//! {"messages":[[7,"…"],[8,"…"]],"ack":3}                   both, whenever there is something to say
//! ```
//!
//! - `id`: the id of the backend, which a directory keeps for life. A kernel made anew under an old name begins with message 1 again: who
//!   has heard the old one refuses it. The id is no proof of who somebody is.
//! - `messages`: number and text of each; numbers rise. On a new connection a side sends all that the other has not acknowledged, and
//!   from then on what this connection has not carried yet.
//! - `ack`: the last message of the other side that has been dealt with here. It may then forget it and all before.
//! - An empty frame every 10 s at the latest. After 35 s without any, the connection is given up.
//! - A line may have 6 MiB, the first one of each side 4 KiB; a frame may have 1,000 messages. Whatever else comes ends the connection.
//! - If both connect at once, the connection stays that was made by the kernel whose name comes first.
//!
//! With a secret on both sides, each hello has a `"nonce"` of 64 hex digits, and each line after it begins with the HMAC-SHA-256, in 64
//! hex digits, and a space. Its key is HMAC(secret, `glassbox-mail 1\n` and the two hello lines, each with its newline), and what it is
//! of: `>` on lines of the one who has connected or `<`, the number of the line in this direction from 0 (u64, big endian), and the line
//! without it.
//!
//! **Without a secret this is for a network that one trusts**: whoever reaches the port can say that he is a peer. With one, nobody
//! without it can take part or change a line, but everybody on the way can read it.
//!
//! # Invariants
//!
//! - Nothing leaves that is not durable here: a message, or the acknowledgment of one.
//! - What comes in is a transaction before it is acknowledged. So a message that was not dealt with is sent again, whoever has crashed.
//! - A message comes in once: those before [`delivered`](mailbox::Peer::delivered) are dropped here, and the mailbox sees to it again.
//! - On each connection a message comes after all smaller ones that were not acknowledged when it began. So they come in in order.
//! - Nobody slow costs memory: what goes out is one snapshot, however many read it; with enough of what comes in waiting, no more is read.
//! - Nothing comes in or goes out before a vat takes it (`registerInboundHandler`).
//! - What waits to be taken is of one connection: the next one brings it again.

mod link;
mod wire;

use crate::commit::{Backend, Refused};
use crate::limits;
use machine::vats::Work;
use machine::vats::devices::{Mail, mailbox};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
pub use wire::Secret;

/// For each peer what there is with it, as of a transaction that is durable.
pub type Outgoing = Arc<Mail>;

/// Who sends it.
pub type Outbox = Arc<dyn Fn(Outgoing) + Send + Sync>;

/// Who we are, and whom we know.
pub struct Options {
    /// How peers call us.
    pub name: String,
    /// How we call them, and where they listen. Those of whom we do not know that connect to us.
    pub peers: BTreeMap<String, Option<String>>,
    /// What all of them know.
    pub secret: Option<Secret>,
}

impl Options {
    /// Why this cannot work.
    pub fn problem(&self) -> Option<String> {
        let names = || std::iter::once(&self.name).chain(self.peers.keys());
        let is_bad =
            |name: &&String| name.is_empty() || name.len() > limits::MAX_NAME_BYTES || name.chars().any(char::is_control);
        if let Some(name) = names().find(is_bad) {
            return Some(format!("{name:?} is no name for a kernel: it has 1 to {} bytes", limits::MAX_NAME_BYTES));
        }
        self.peers.contains_key(&self.name).then(|| format!("'{}' is this kernel's own name", self.name))
    }
}

/// Carries mail as long as it lives.
pub struct Carrier {
    _tasks: JoinSet<()>,
}

impl Carrier {
    /// Begins, in the background. Kernels may connect at `listener`.
    pub fn start(backend: &Backend, options: Options, listener: Option<TcpListener>) -> Carrier {
        let (told, outgoing) = watch::channel(None);
        let peers = options.peers.into_iter().map(|(name, address)| (name.clone(), Arc::new(Peer::new(name, address))));
        let post = Arc::new(Post {
            backend: backend.clone(),
            name: options.name,
            secret: options.secret,
            peers: peers.collect(),
            outgoing,
            links: AtomicU64::new(0),
            complaint: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for peer in post.peers.values() {
            tasks.spawn(post.clone().deliver(peer.clone()));
            if let Some(address) = &peer.address {
                tasks.spawn(post.clone().dial(peer.clone(), address.clone()));
            }
        }
        if let Some(listener) = listener {
            tasks.spawn(post.clone().listen(listener));
        }
        backend.mail(Arc::new(move |outgoing| {
            told.send_replace(Some(outgoing));
        }));
        Carrier { _tasks: tasks }
    }
}

/// This kernel's end of all connections.
struct Post {
    backend: Backend,
    name: String,
    secret: Option<Secret>,
    peers: BTreeMap<String, Arc<Peer>>,
    outgoing: watch::Receiver<Option<Outgoing>>,
    /// So many connections there have been.
    links: AtomicU64,
    /// What was last complained of about those who connect.
    complaint: Mutex<String>,
}

/// Another kernel.
struct Peer {
    name: String,
    address: Option<String>,
    /// The connection with it.
    link: watch::Sender<Option<Link>>,
    /// What it has sent, as long as our kernel has not taken it.
    inbox: Mutex<Inbox>,
    /// Why our kernel has not taken it. As long as this stands, there is no connection.
    refusal: Mutex<Option<String>>,
    arrived: Notify,
    room: Notify,
}

/// Which connection it is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link {
    number: u64,
    by_us: bool,
}

#[derive(Default)]
struct Inbox {
    /// Which connection has brought it.
    link: Option<Link>,
    /// From which kernel.
    id: String,
    messages: BTreeMap<u64, String>,
    bytes: usize,
    ack: u64,
}

/// What a kernel is given at once.
struct Taken {
    id: String,
    messages: Vec<(u64, String)>,
    ack: u64,
}

/// What a message costs beside its text.
const MESSAGE_BYTES: usize = 64;

impl Peer {
    fn new(name: String, address: Option<String>) -> Peer {
        let link = watch::Sender::new(None);
        let (inbox, refusal) = (Mutex::default(), Mutex::default());
        Peer { name, address, link, inbox, refusal, arrived: Notify::new(), room: Notify::new() }
    }

    /// Puts a frame from the kernel `id` into the inbox, as soon as there is room, if its connection is still the one.
    async fn put(&self, link: Link, id: &str, frame: wire::Frame) {
        loop {
            let room = self.room.notified();
            {
                let mut inbox = self.inbox.lock().expect("nobody panics with it");
                if *self.link.borrow() != Some(link) {
                    return;
                }
                if inbox.link != Some(link) {
                    *inbox = Inbox { link: Some(link), id: id.to_owned(), ..Inbox::default() };
                }
                if inbox.bytes < limits::MAX_MAIL_WAITING_BYTES {
                    inbox.put(frame);
                    break;
                }
            }
            room.await;
        }
        self.arrived.notify_one();
    }

    /// Takes from the inbox what is new, as far as a kernel is given it at once.
    fn take(&self, known: &mailbox::Peer) -> Option<Taken> {
        let taken = self.inbox.lock().expect("nobody panics with it").take(known);
        self.room.notify_waiters();
        taken
    }

    /// Our kernel does not take what comes: the connection ends, and for a while there is no other one.
    async fn refuse(&self, why: String) {
        tracing::warn!("mail from '{}' is not taken: {why}", self.name);
        *self.refusal.lock().expect("nobody panics with it") = Some(why);
        self.link.send_replace(None);
        *self.inbox.lock().expect("nobody panics with it") = Inbox::default();
        tokio::time::sleep(limits::MAIL_REFUSED_PAUSE).await;
        *self.refusal.lock().expect("nobody panics with it") = None;
    }
}

impl Inbox {
    fn put(&mut self, frame: wire::Frame) {
        self.ack = self.ack.max(frame.ack);
        for (number, text) in frame.messages {
            self.bytes += text.len() + MESSAGE_BYTES;
            if let Some(same) = self.messages.insert(number, text) {
                self.bytes -= same.len() + MESSAGE_BYTES;
            }
        }
    }

    fn take(&mut self, known: &mailbox::Peer) -> Option<Taken> {
        if known.is_other(&self.id) {
            // Its connection is about to end.
            (self.messages, self.bytes, self.ack) = Default::default();
            return None;
        }
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while messages.len() < limits::MAIL_AT_ONCE && bytes < limits::MAIL_FILL_BYTES {
            let Some((number, text)) = self.messages.pop_first() else { break };
            self.bytes -= text.len() + MESSAGE_BYTES;
            if number > known.delivered {
                bytes += text.len();
                messages.push((number, text));
            }
        }
        let names = self.link.is_some() && known.is_nameless();
        let is_new = !messages.is_empty() || self.ack > known.acknowledged || names;
        is_new.then(|| Taken { id: self.id.clone(), messages, ack: self.ack })
    }
}

/// What there is with a peer.
fn known<'a>(outgoing: &'a Option<Outgoing>, peer: &str) -> Option<&'a mailbox::Peer> {
    outgoing.as_ref()?.get(peer)
}

impl Post {
    /// Gives our kernel what has come from a peer: one transaction at a time, the next one when the last one is durable.
    async fn deliver(self: Arc<Self>, peer: Arc<Peer>) {
        let mut outgoing = self.outgoing.clone();
        let nothing = mailbox::Peer::default();
        if outgoing.wait_for(Option::is_some).await.is_err() {
            return;
        }
        loop {
            let new = peer.take(known(&outgoing.borrow(), &peer.name).unwrap_or(&nothing));
            let Some(Taken { id, messages, ack }) = new else {
                peer.arrived.notified().await;
                continue;
            };
            let mut work = Work::Mail { peer: peer.name.clone(), id: Some(id), messages, ack };
            let told = loop {
                let (tell, told) = oneshot::channel();
                match self.backend.vats(work, tell) {
                    Ok(()) => break told,
                    Err((Refused::Stopping, _)) => return,
                    Err((Refused::Busy, same)) => work = same,
                }
                tokio::time::sleep(limits::MAIL_BUSY_PAUSE).await;
            };
            match told.await {
                // `outgoing` has it already.
                Ok(Ok(())) => {}
                Ok(Err(why)) => peer.refuse(why).await,
                Err(_) => return,
            }
        }
    }

    /// Which kernel we are.
    fn id(&self) -> &str {
        &self.backend.service().log
    }

    /// Whether there is to be a connection with the kernel `id` that says that it is `peer`.
    fn expect_welcome(&self, peer: &Peer, id: &str) -> Result<(), wire::Problem> {
        if let Some(why) = &*peer.refusal.lock().expect("nobody panics with it") {
            return Err(wire::Problem::Unwelcome(format!("'{}' does not take mail from '{}' now: {why}", self.name, peer.name)));
        }
        let outgoing = self.outgoing.borrow();
        known(&outgoing, &peer.name).map_or(Ok(()), |known| self.expect_same(peer, known, id))
    }

    /// Whether it is the kernel that was heard under this name.
    fn expect_same(&self, peer: &Peer, known: &mailbox::Peer, id: &str) -> Result<(), wire::Problem> {
        if !known.is_other(id) {
            return Ok(());
        }
        let short = |id: &str| id.chars().take(8).collect::<String>();
        let (ours, peer, known, id) = (&self.name, &peer.name, short(known.id.as_deref().unwrap_or_default()), short(id));
        Err(wire::Problem::Unwelcome(format!(
            "'{peer}' is not the kernel that '{ours}' has talked to: that was {known}…, this is {id}…; made anew, it needs another name"
        )))
    }
}
