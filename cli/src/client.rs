//! A client of the WebSocket RPC: one connection, one call at a time, a limit on every wait.

use crate::Failed;
use crate::address::Address;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a reply may take. Longer than any call may run.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// What a backend says of itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendInfo {
    /// The exported methods.
    pub methods: Vec<String>,
    /// The call log's address.
    pub call_log_url: String,
    /// The files archive's address.
    pub files_archive_url: String,
    /// Callers may name themselves.
    #[serde(default)]
    pub debug: bool,
}

/// What a failed call says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// `error.name`
    pub name: String,
    /// `error.message`
    pub message: String,
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.message.is_empty() { write!(f, "{}", self.name) } else { write!(f, "{}: {}", self.name, self.message) }
    }
}

/// A connection to a backend.
pub struct Client {
    socket: WebSocket<TcpStream>,
    next_id: u64,
    /// What the backend says of itself.
    pub info: BackendInfo,
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    message: String,
    #[serde(default)]
    data: String,
}

impl Client {
    /// Connects, and asks what is there. The user's name is for backends in debug mode.
    pub fn connect(address: &Address, user: Option<&str>) -> Result<Client, Failed> {
        let failed = |why: String| Failed::unable(format!("Failed to connect to {address}: {why}"));
        let resolved = address.authority().to_socket_addrs().map_err(|error| failed(error.to_string()))?;
        let mut last = "the name has no address".to_owned();
        let mut stream = None;
        for candidate in resolved {
            match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
                Ok(connected) => {
                    stream = Some(connected);
                    break;
                }
                Err(error) => last = error.to_string(),
            }
        }
        let stream = stream.ok_or_else(|| failed(last))?;
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(CONNECT_TIMEOUT)))
            .and_then(|()| stream.set_write_timeout(Some(CONNECT_TIMEOUT)));
        ready.map_err(|error| failed(error.to_string()))?;
        let mut request =
            tungstenite::client::ClientRequestBuilder::new(address.ws().parse().map_err(|_| failed("no address".into()))?);
        if let Some(user) = user {
            use base64::Engine as _;
            let credentials = base64::prelude::BASE64_STANDARD.encode(format!("{user}:"));
            request = request.with_header("Authorization", format!("Basic {credentials}"));
        }
        let (socket, _) = tungstenite::client(request, stream).map_err(|error| failed(error.to_string()))?;
        let info =
            BackendInfo { methods: Vec::new(), call_log_url: String::new(), files_archive_url: String::new(), debug: false };
        let mut client = Client { socket, next_id: 1, info };
        let info = client.call("handshake", "[]").map_err(|error| failed(error.message))?;
        let info = info.map_err(|error| failed(error.to_string()))?.unwrap_or_default();
        client.info = serde_json::from_str(&info).map_err(|_| failed("it is no Glassbox backend".into()))?;
        Ok(client)
    }

    /// False when the backend has closed the connection since the last reply.
    pub fn is_open(&mut self) -> bool {
        if self.socket.get_ref().set_nonblocking(true).is_err() {
            return false;
        }
        let open = loop {
            match self.socket.read() {
                Ok(Message::Close(_)) => break false,
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) => break error.kind() == std::io::ErrorKind::WouldBlock,
                Err(_) => break false,
            }
        };
        self.socket.get_ref().set_nonblocking(false).is_ok() && open
    }

    /// Calls a method with a JSON array; the result is JSON, `None` for `undefined`.
    pub fn call(&mut self, method: &str, args: &str) -> Result<Result<Option<String>, CallError>, Failed> {
        let id = self.next_id;
        self.next_id += 1;
        let name = serde_json::to_string(method).expect("a string can be written");
        let request = format!("{{\"jsonrpc\":\"2.0\",\"method\":{name},\"params\":{args},\"id\":{id}}}");
        let lost = |why: String| Failed::unable(format!("The connection is lost: {why}"));
        self.socket.send(Message::text(request)).map_err(|error| lost(error.to_string()))?;
        let until = Instant::now() + REPLY_TIMEOUT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failed::unable(format!("No reply within {} seconds", REPLY_TIMEOUT.as_secs())));
            }
            self.socket.get_ref().set_read_timeout(Some(left)).map_err(|error| lost(error.to_string()))?;
            let text = match self.socket.read() {
                Ok(Message::Text(text)) => text,
                Ok(Message::Close(_)) => return Err(lost("the backend closed it".into())),
                Ok(_) => continue,
                Err(tungstenite::Error::Io(error))
                    if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    continue;
                }
                Err(error) => return Err(lost(error.to_string())),
            };
            let Ok(reply) = serde_json::from_str::<Reply>(&text) else { continue };
            if reply.id.map(RawValue::get) != Some(id.to_string().as_str()) && reply.error.is_none() {
                continue;
            }
            return Ok(match reply.error {
                Some(error) => Err(CallError { name: error.message, message: error.data }),
                None => Ok(reply.result.map(|json| json.get().to_owned())),
            });
        }
    }
}
