//! The load client: so many connections, so many calls in flight on each, every reply checked.

use base64::Engine as _;
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long one reply may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// Calls in flight on each.
    pub in_flight: usize,
    /// Calls in all.
    pub calls: usize,
    /// What kind of calls.
    pub kind: Kind,
}

/// What a call is, beside its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody's.
    Plain,
    /// Its reply waits for the receipt.
    Receipted,
    /// Signed by a key.
    Signed,
}

/// What a connection needs to make its requests.
struct Requests {
    method: String,
    kind: Kind,
    session: usize,
    counter: u64,
    handshake: serde_json::Value,
    key: ledger::CallerKey,
}

impl Requests {
    fn next(&mut self, id: usize) -> Message {
        let method = &self.method;
        let members = match self.kind {
            Kind::Plain => String::new(),
            Kind::Receipted => ",\"receipt\":true".into(),
            Kind::Signed => {
                self.counter += 1;
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                let (backend, head) = (text(&self.handshake["id"]), &self.handshake["head"]);
                let (txid, root) = (text(&head["transaction"]), text(&head["root"]));
                let nonce = format!("{:016x}.{}", self.session, self.counter);
                let (head, digest) = (txid.parse().expect("a transaction"), ledger::hex::decode(&root).expect("a root"));
                let message = ledger::caller::message(&backend, &nonce, head, &digest, &format!("\"{method}\""), "[]");
                let signature = base64::prelude::BASE64_STANDARD.encode(self.key.sign(&message));
                let key = ledger::hex::encode(&self.key.public());
                format!(
                    ",\"auth\":{{\"backend\":\"{backend}\",\"key\":\"{key}\",\"nonce\":\"{nonce}\",\"head\":\"{txid}\",\"root\":\"{root}\",\"signature\":\"{signature}\"}}"
                )
            }
        };
        Message::text(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":[],\"id\":{id}{members}}}"))
    }
}

/// What came of it.
pub struct Measured {
    latencies_us: Vec<f64>,
    /// From the first request to the last reply.
    pub elapsed: Duration,
}

impl Measured {
    /// What a load came to.
    pub fn new(mut latencies_us: Vec<f64>, elapsed: Duration) -> Measured {
        latencies_us.sort_by(f64::total_cmp);
        Measured { latencies_us, elapsed }
    }

    /// Replies.
    pub fn calls(&self) -> usize {
        self.latencies_us.len()
    }

    /// Calls per second.
    pub fn per_second(&self) -> f64 {
        self.calls() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency in milliseconds that this share of the calls does not exceed.
    pub fn latency_ms(&self, share: f64) -> f64 {
        let at = (share * self.calls() as f64) as usize;
        self.latencies_us.get(at.min(self.calls().saturating_sub(1))).copied().unwrap_or(f64::NAN) / 1e3
    }
}

fn address(port: u16) -> (Ipv4Addr, u16) {
    (Ipv4Addr::LOCALHOST, port)
}

fn request(method: &str, id: usize) -> Message {
    Message::text(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":[],\"id\":{id}}}"))
}

/// The id and the number that a reply carries.
fn read_reply(message: &Message) -> Result<(usize, u64), String> {
    let Message::Text(text) = message else { return Err(format!("no reply: {message:?}")) };
    let read = || {
        let (result, id) = text.strip_prefix("{\"jsonrpc\":\"2.0\",\"result\":")?.split_once(",\"id\":")?;
        let id = id.split([',', '}']).next()?;
        Some((id.parse().ok()?, result.parse().ok()?))
    };
    read().ok_or_else(|| format!("no reply that was expected: {text}"))
}

/// Counters count: if every call ran once, no two replies are the same and none is missing.
fn check_counted(mut results: Vec<u64>) -> Result<(), String> {
    results.sort_unstable();
    match results.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        Some(pair) => Err(format!("a call ran twice or got lost: after {} comes {}", pair[0], pair[1])),
        None => Ok(()),
    }
}

/// Runs a load of calls of a counter, on one thread.
pub fn run(port: u16, method: &str, load: Load) -> Result<Measured, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async {
        let mut sockets = Vec::new();
        for _ in 0..load.connections {
            sockets.push(connect(port).await?);
        }
        // Sessions of another run are others.
        let began_us = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_micros());
        let began = Instant::now();
        let tasks: Vec<_> = sockets
            .into_iter()
            .enumerate()
            .map(|(session, (socket, handshake))| {
                let calls = load.calls / load.connections;
                let session = session + began_us as usize;
                let key = ledger::CallerKey::from_seed([7; 32]);
                let requests = Requests { method: method.to_owned(), kind: load.kind, session, counter: 0, handshake, key };
                tokio::task::spawn_local(connection(socket, requests, load.in_flight, calls))
            })
            .collect();
        let (mut latencies, mut results) = (Vec::new(), Vec::new());
        for task in tasks {
            let (latency, result) = task.await.map_err(|error| error.to_string())??;
            latencies.extend(latency);
            results.extend(result);
        }
        let elapsed = began.elapsed();
        check_counted(results)?;
        Ok(Measured::new(latencies, elapsed))
    }))
}

async fn connect(port: u16) -> Result<(WebSocketStream<TcpStream>, serde_json::Value), String> {
    let stream = TcpStream::connect(address(port)).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (mut socket, _) = client_async(format!("ws://127.0.0.1:{port}/"), stream).await.map_err(|error| error.to_string())?;
    let handshake = Message::text("{\"jsonrpc\":\"2.0\",\"method\":\"handshake\",\"params\":[],\"id\":0}");
    socket.send(handshake).await.map_err(|error| error.to_string())?;
    let reply = socket.next().await.ok_or("no handshake")?.map_err(|error| error.to_string())?;
    let reply: serde_json::Value =
        serde_json::from_str(reply.to_text().unwrap_or_default()).map_err(|error| error.to_string())?;
    Ok((socket, reply["result"].clone()))
}

/// Latencies in microseconds, and results.
type Replies = (Vec<f64>, Vec<u64>);

async fn connection(
    mut socket: WebSocketStream<TcpStream>,
    mut requests: Requests,
    in_flight: usize,
    calls: usize,
) -> Result<Replies, String> {
    let lost = |error: tungstenite::Error| format!("the connection is lost: {error}");
    let (mut latencies, mut results) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    // The id of a request is its slot, so that a slot remembers when it was sent.
    let mut sent = vec![Instant::now(); in_flight.min(calls)];
    for slot in 0..sent.len() {
        socket.feed(requests.next(slot)).await.map_err(lost)?;
    }
    let mut issued = sent.len();
    socket.flush().await.map_err(lost)?;
    while results.len() < calls {
        let waited = tokio::time::timeout(PATIENCE, socket.next()).await.map_err(|_| "a reply does not come")?;
        let mut next = Some(waited);
        // All replies that are there are taken before anything is sent.
        while let Some(message) = next {
            let message = message.ok_or("the server closed the connection")?.map_err(lost)?;
            let (slot, result) = read_reply(&message)?;
            let since = sent.get_mut(slot).ok_or("a reply to nothing")?;
            let now = Instant::now();
            latencies.push((now - *since).as_secs_f64() * 1e6);
            results.push(result);
            if issued < calls {
                issued += 1;
                *since = now;
                socket.feed(requests.next(slot)).await.map_err(lost)?;
            }
            next = socket.next().now_or_never();
            if results.len() == calls {
                break;
            }
        }
        socket.flush().await.map_err(lost)?;
    }
    let _ = socket.close(None).await;
    Ok((latencies, results))
}

/// One client that waits for each reply before it sends the next request.
pub fn alone(port: u16, method: &str, calls: usize) -> Result<Measured, String> {
    let lost = |error: tungstenite::Error| format!("the connection is lost: {error}");
    let mut socket = connect_blocking(port)?;
    let (mut latencies, mut results) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    let began = Instant::now();
    for id in 0..calls {
        let sent = Instant::now();
        socket.send(request(method, id)).map_err(lost)?;
        let (_, result) = read_reply(&socket.read().map_err(lost)?)?;
        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
        results.push(result);
    }
    let elapsed = began.elapsed();
    check_counted(results)?;
    Ok(Measured::new(latencies, elapsed))
}

fn connect_blocking(port: u16) -> Result<WebSocket<std::net::TcpStream>, String> {
    let stream = std::net::TcpStream::connect(address(port)).map_err(|error| error.to_string())?;
    stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).map_err(|error| error.to_string())?;
    let connected = tungstenite::client(format!("ws://127.0.0.1:{port}/"), stream);
    connected.map(|(socket, _)| socket).map_err(|error| error.to_string())
}
