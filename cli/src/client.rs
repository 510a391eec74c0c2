//! A client of the WebSocket RPC: one connection, one call at a time, a limit on every wait.

use crate::address::Address;
use crate::key::{self, CallerKey};
use crate::{Failed, receipt};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use ledger::{Certificate, TxId};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
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
    /// The backend's id, which signed calls name. Old servers have none.
    #[serde(default)]
    pub id: String,
    /// The last signature transaction.
    #[serde(default)]
    pub head: Option<KnownHead>,
    /// The service's certificate, PEM.
    #[serde(default)]
    pub service_cert: String,
}

/// A signature transaction and the root that it signs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KnownHead {
    /// Its name.
    pub transaction: String,
    /// The root, hex.
    pub root: String,
}

/// As whom to call.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct Who {
    /// Call as this user (the backend must run with --debug). Such calls are not signed.
    #[arg(short, long, conflicts_with = "key")]
    pub user: Option<String>,
    /// Sign with this key: a name of `glassbox key list`, or a PEM file [default: the key `default`, if there is one].
    #[arg(long, value_name = "NAME|FILE")]
    pub key: Option<String>,
    /// Do not sign, even if there is a default key.
    #[arg(long, conflicts_with_all = ["user", "key"])]
    pub anonymous: bool,
    /// Keep the receipt of every call in this folder, for `glassbox verify --receipts`.
    #[arg(long, value_name = "DIR")]
    pub receipts: Option<PathBuf>,
}

impl Who {
    /// The key to sign with.
    fn key(&self) -> Result<Option<Arc<CallerKey>>, Failed> {
        let named = match &self.key {
            Some(name) => Some(name.as_str()),
            None if self.anonymous || self.user.is_some() || !key::exists(key::DEFAULT_NAME) => None,
            None => Some(key::DEFAULT_NAME),
        };
        named.map(|name| key::load(name).map(Arc::new)).transpose()
    }
}

/// How a connection's calls are signed.
struct Signer {
    key: Arc<CallerKey>,
    session: String,
    counter: u64,
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
    signer: Option<Signer>,
    receipts: Option<PathBuf>,
    /// What the backend says of itself.
    pub info: BackendInfo,
}

/// What a call came to, with what the ledger has of it.
pub struct Called {
    /// JSON, or nothing; or the error.
    pub result: Result<Option<String>, CallError>,
    /// Its transaction, if the backend says so.
    pub transaction: Option<String>,
    /// The saved receipt, JSON, checked.
    pub receipt: Option<String>,
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ReplyError>,
    #[serde(default)]
    transaction: Option<String>,
    #[serde(default)]
    head: Option<KnownHead>,
    #[serde(borrow, default)]
    receipt: Option<&'a RawValue>,
}

/// Tells `null` from nothing, which serde does not.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(field: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(field).map(Some)
}

#[derive(Deserialize)]
struct ReplyError {
    message: String,
    #[serde(default)]
    data: String,
}

impl Client {
    /// Connects, and asks what is there.
    pub fn connect(address: &Address, who: &Who) -> Result<Client, Failed> {
        Client::connect_with(address, who, who.key()?)
    }

    /// The same, with this key.
    pub fn connect_with(address: &Address, who: &Who, key: Option<Arc<CallerKey>>) -> Result<Client, Failed> {
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
        if let Some(user) = &who.user {
            let credentials = BASE64.encode(format!("{user}:"));
            request = request.with_header("Authorization", format!("Basic {credentials}"));
        }
        let (socket, _) = tungstenite::client(request, stream).map_err(|error| failed(error.to_string()))?;
        let info = BackendInfo {
            methods: Vec::new(),
            call_log_url: String::new(),
            files_archive_url: String::new(),
            debug: false,
            id: String::new(),
            head: None,
            service_cert: String::new(),
        };
        let mut client = Client { socket, next_id: 1, signer: None, receipts: None, info };
        let info = client.request("handshake", "[]", "").map_err(|error| failed(error.message))?;
        let info = info.result.map_err(|error| failed(error.to_string()))?.unwrap_or_default();
        client.info = serde_json::from_str(&info).map_err(|_| failed("it is no Glassbox backend".into()))?;
        if let Some(key) = key {
            if client.info.id.is_empty() {
                return Err(failed("it takes no signed calls".into()));
            }
            let mut session = [0; 8];
            aws_lc_rs::rand::fill(&mut session).map_err(|_| failed("the system has no randomness".into()))?;
            client.signer = Some(Signer { key, session: ledger::hex::encode(&session), counter: 0 });
        }
        if let Some(dir) = &who.receipts {
            receipt::make_folder(dir)?;
            client.receipts = Some(dir.clone());
        }
        Ok(client)
    }

    /// The public key (hex) that calls are signed with.
    pub fn signs_as(&self) -> Option<String> {
        self.signer.as_ref().map(|signer| signer.key.public_hex())
    }

    /// The `auth` member of a call.
    fn auth(&mut self, method: &str, args: &str) -> Result<String, Failed> {
        let Some(signer) = &mut self.signer else { return Ok(String::new()) };
        let head = self.info.head.as_ref().ok_or_else(|| Failed::unable("the backend has signed nothing yet"))?;
        let malformed = || Failed::unable("the backend names a head that is none");
        let txid: TxId = head.transaction.parse().map_err(|_| malformed())?;
        let root = ledger::hex::decode(&head.root).ok_or_else(malformed)?;
        signer.counter += 1;
        let nonce = format!("{}.{}", signer.session, signer.counter);
        let method = serde_json::to_string(method).expect("a string can be written");
        let message = ledger::caller::message(&self.info.id, &nonce, txid, &root, &method, args);
        let signature = BASE64.encode(signer.key.sign(&message));
        let auth = serde_json::json!({
            "backend": self.info.id, "key": signer.key.public_hex(), "nonce": nonce, "head": head.transaction,
            "root": head.root, "signature": signature,
        });
        Ok(format!(",\"auth\":{auth}"))
    }

    /// Calls a method with a JSON array; the result is JSON, `None` for `undefined`.
    pub fn call(&mut self, method: &str, args: &str) -> Result<Result<Option<String>, CallError>, Failed> {
        Ok(self.call_for(method, args, false)?.result)
    }

    /// The same, and with `receipt` the receipt too: it has been checked against the service, the call and the result.
    pub fn call_for(&mut self, method: &str, args: &str, receipt: bool) -> Result<Called, Failed> {
        let mut members = self.auth(method, args)?;
        let receipt = receipt || self.receipts.is_some();
        if receipt {
            members += ",\"receipt\":true";
        }
        let before: Option<TxId> = self.info.head.as_ref().and_then(|head| head.transaction.parse().ok());
        let called = self.request(method, args, &members)?;
        // What was refused is in no transaction, and has none.
        if receipt && called.receipt.is_none() && (called.result.is_ok() || called.transaction.is_some()) {
            return Err(Failed::new("the backend gave no receipt"));
        }
        if let Some(saved) = &called.receipt {
            let service = Certificate::from_pem(&self.info.service_cert)
                .map_err(|_| Failed::unable("the backend names a service certificate that is none"))?;
            let txid = receipt::check_reply(saved, &service, method, args, self.signs_as().as_deref(), &called.result)?;
            if before.is_some_and(|before| txid.seqno <= before.seqno) {
                return Err(Failed::new("the receipt that came with the reply does not hold: it is of an earlier call"));
            }
            if let Some(dir) = &self.receipts {
                receipt::keep(dir, txid, saved)?;
            }
        }
        Ok(called)
    }

    /// Takes a newer head. One that is older, or another one of the same name, is of another history.
    fn see(&mut self, head: KnownHead) -> Result<(), Failed> {
        let known: Option<TxId> = self.info.head.as_ref().and_then(|known| known.transaction.parse().ok());
        let new: Option<TxId> = head.transaction.parse().ok();
        let forked = match (known, new) {
            (_, None) => true,
            (None, _) => false,
            (Some(known), Some(new)) => {
                new.seqno < known.seqno
                    || new.view < known.view
                    || (new.seqno == known.seqno && self.info.head.as_ref() != Some(&head))
            }
        };
        if forked {
            let known = self.info.head.as_ref().map(|head| head.transaction.clone()).unwrap_or_default();
            let text = format!("the backend shows another history: it had signed {known}, and now names {}", head.transaction);
            return Err(Failed::new(text));
        }
        self.info.head = Some(head);
        Ok(())
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

    /// Sends a request with more members, and waits for the reply.
    fn request(&mut self, method: &str, args: &str, members: &str) -> Result<Called, Failed> {
        let id = self.next_id;
        self.next_id += 1;
        let name = serde_json::to_string(method).expect("a string can be written");
        let request = format!("{{\"jsonrpc\":\"2.0\",\"method\":{name},\"params\":{args},\"id\":{id}{members}}}");
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
            if let Some(head) = reply.head {
                self.see(head)?;
            }
            // What was not recorded can have no receipt.
            let transaction = reply.transaction;
            let receipt = reply.receipt.filter(|_| transaction.is_some()).map(|json| json.get().to_owned());
            let result = match reply.error {
                Some(error) => Err(CallError { name: error.message, message: error.data }),
                None => Ok(reply.result.map(|json| json.get().to_owned())),
            };
            return Ok(Called { result, transaction, receipt });
        }
    }
}
