//! HTTP/1.1 over TLS, with nothing between a test and the bytes.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// One connection, kept alive.
pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What was read behind the last answer.
    rest: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The transaction that it names.
    pub fn txid(&self) -> Option<ledger::TxId> {
        self.header("x-ms-ccf-transaction-id").map(|text| text.parse().expect("a transaction"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The same, if it is 200.
    pub fn ok(self) -> Answer {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    /// The error's code and message.
    pub fn error(&self) -> (u16, String, String) {
        let error = &self.json()["error"];
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (self.status, text("code"), text("message"))
    }
}

impl Client {
    /// Connects, trusting one certificate; `own`: certificate and key.
    pub fn connect(port: u16, trusted: &str, own: Option<(&str, &str)>) -> std::io::Result<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).expect("a certificate")).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
        let config = config.with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                config.with_client_auth_cert(vec![cert], key).expect("a pair")
            }
        };
        let tcp = TcpStream::connect(("127.0.0.1", port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(super::place::PATIENCE))?;
        tcp.set_write_timeout(Some(super::place::PATIENCE))?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let tls = ClientConnection::new(Arc::new(config), name).map_err(Error::other)?;
        Ok(Client { stream: StreamOwned::new(tls, tcp), rest: Vec::new() })
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    pub fn post(&mut self, target: &str, body: &str) -> Answer {
        self.send("POST", target, &[], body.as_bytes())
    }

    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, target, headers, body).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// The same where the other side may be gone.
    pub fn try_send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Answer> {
        self.begin(method, target, headers, body)?;
        self.end(method == "HEAD")
    }

    /// Sends a request without waiting for its answer.
    pub fn begin(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<()> {
        let mut request = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        if !headers.iter().any(|(name, _)| *name == "host") {
            request.extend_from_slice(b"host: 127.0.0.1\r\n");
        }
        for (name, value) in headers {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            request.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.write(&request)
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next answer. `bare`: without a body, whatever its head says.
    pub fn end(&mut self, bare: bool) -> std::io::Result<Answer> {
        let head = loop {
            if let Some(at) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let text = String::from_utf8_lossy(&self.rest[..head]).into_owned();
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|line| line.get(..3));
        let status = status.and_then(|status| status.parse().ok()).ok_or_else(|| Error::other(text.clone()))?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let len = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, len)| len.parse().expect("a length"));
        let len = if bare { 0 } else { len };
        while self.rest.len() < head + len {
            self.more()?;
        }
        let body = self.rest[head..head + len].to_vec();
        self.rest.drain(..head + len);
        Ok(Answer { status, headers, body })
    }

    fn more(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.rest.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }

    /// Whether nothing has come in, now.
    pub fn is_silent(&mut self) -> bool {
        let patience = Some(super::place::PATIENCE);
        self.stream.sock.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        let read = self.more();
        self.stream.sock.set_read_timeout(patience).expect("a timeout");
        read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)) && self.rest.is_empty()
    }

    /// Whether the other side has closed the connection, after all that it had to say.
    pub fn is_closed(&mut self) -> bool {
        self.rest.is_empty()
            && self.more().is_err_and(|error| !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}
