//! A raw connection to a server, frame by frame, and a reader of what it has written: the two ends between which the tests
//! look for what gets lost.

use ledger::{Dir, reader::Reader};
use machine::{Entry, Input};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tungstenite::{Message, WebSocket};

/// No reply takes longer, however slow the machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What a call came to: JSON (`None` for `undefined`), or the error's name and message.
pub type Reply = Result<Option<String>, (String, String)>;

/// A WebSocket to a server.
pub struct Socket {
    ws: WebSocket<TcpStream>,
    next_id: u64,
}

/// A plain connection, with a limit on every wait.
pub fn tcp(url: &str) -> TcpStream {
    try_tcp(url).expect("the server listens")
}

fn try_tcp(url: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(url.replace("localhost", "127.0.0.1"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Socket {
    /// Connects to `localhost:PORT`.
    pub fn connect(url: &str) -> Socket {
        Socket::connect_as(url, "/")
    }

    /// The same with a path, as `/?user=bob`.
    pub fn connect_as(url: &str, path: &str) -> Socket {
        Socket::try_connect(url, path).expect("the server shakes hands")
    }

    /// The same with a server that may be gone.
    pub fn try_connect(url: &str, path: &str) -> Result<Socket, String> {
        let stream = try_tcp(url).map_err(|error| error.to_string())?;
        let (ws, _) = tungstenite::client(format!("ws://{url}{path}"), stream).map_err(|error| error.to_string())?;
        Ok(Socket { ws, next_id: 1 })
    }

    pub fn stream(&self) -> &TcpStream {
        self.ws.get_ref()
    }

    /// Sends a text frame.
    pub fn send(&mut self, text: &str) {
        self.try_send(Message::text(text)).expect("it can be sent");
    }

    pub fn try_send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.ws.send(message)
    }

    /// The next text frame.
    pub fn receive(&mut self) -> String {
        self.try_receive().expect("a reply")
    }

    /// The next text frame, or how the connection ended.
    pub fn try_receive(&mut self) -> Result<String, String> {
        loop {
            match self.ws.read() {
                Ok(Message::Text(text)) => return Ok(text.to_string()),
                Ok(Message::Close(frame)) => return Err(frame.map_or("closed".into(), |frame| format!("closed {}", frame.code))),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Sends a text frame and waits for the reply.
    pub fn ask(&mut self, text: &str) -> String {
        self.send(text);
        self.receive()
    }

    /// Sends a call without waiting for its reply.
    pub fn begin(&mut self, method: &str, args: &str) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let method = serde_json::to_string(method).expect("text");
        self.send(&format!("{{\"jsonrpc\":\"2.0\",\"method\":{method},\"params\":{args},\"id\":{id}}}"));
        id
    }

    /// The next reply and whose it is.
    pub fn end(&mut self) -> Result<(u64, Reply), String> {
        #[derive(Deserialize)]
        struct Frame<'a> {
            id: u64,
            #[serde(borrow, default)]
            result: Option<&'a RawValue>,
            error: Option<Error>,
        }
        #[derive(Deserialize)]
        struct Error {
            message: String,
            data: String,
        }
        let text = self.try_receive()?;
        let frame: Frame = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        // serde takes `null` for an absent result.
        let result = || match frame.result {
            None if text.contains("\"result\":null") => Some("null".to_owned()),
            result => result.map(|json| json.get().to_owned()),
        };
        Ok((
            frame.id,
            frame.error.as_ref().map_or_else(|| Ok(result()), |error| Err((error.message.clone(), error.data.clone()))),
        ))
    }

    /// A call and its reply.
    pub fn call(&mut self, method: &str, args: &str) -> Reply {
        let id = self.begin(method, args);
        let (replied, reply) = self.end().expect("a reply");
        assert_eq!(replied, id);
        reply
    }

    /// A call that must succeed: its result as JSON.
    pub fn result(&mut self, method: &str, args: &str) -> String {
        let reply = self.call(method, args);
        reply.unwrap_or_else(|error| panic!("{method}: {error:?}")).unwrap_or_default()
    }

    /// The methods that the backend names.
    pub fn methods(&mut self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Info {
            methods: Vec<String>,
        }
        let info = self.result("handshake", "[]");
        serde_json::from_str::<Info>(&info).expect("a handshake").methods
    }
}

/// A reply as a line of text, shortened.
pub fn shown(reply: &Reply) -> String {
    let text = match reply {
        Ok(Some(json)) => json.clone(),
        Ok(None) => "undefined".into(),
        Err((name, message)) => format!("throws {name}: {message}"),
    };
    let text: String =
        text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect();
    match text.char_indices().nth(600) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// The calls in the ledger of a directory, in their order: method, arguments, result.
pub fn logged(dir: &Path) -> Vec<(String, String, Reply)> {
    let storage = Dir::open(&dir.join("ledger")).expect("a ledger");
    let mut calls = Vec::new();
    for located in Reader::open(&storage).expect("chunks") {
        let located = located.expect("a transaction");
        let Some(entry) = Entry::read(located.transaction.public()).expect("an entry") else { continue };
        if let Input::Call(call) = entry.input {
            let reply = entry.result.map_err(|failure| (failure.name, failure.message));
            calls.push((call.method, call.args, reply));
        }
    }
    calls
}
