//! What people write for a backend: `localhost:5555`, `127.0.0.1:5555/mount`, `ws://…`, `http://…`, or a directory.

use crate::Failed;
use std::path::{Path, PathBuf};

/// The port when none is given.
const DEFAULT_PORT: u16 = 5555;

/// A backend on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    /// The mount path, without a slash at the end.
    mount: String,
}

/// A backend, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the network.
    Url(Address),
    /// Its directory.
    Dir(PathBuf),
}

impl Place {
    /// A directory if there is one of that name, else an address.
    pub fn parse(text: &str) -> Result<Place, Failed> {
        let path = Path::new(text);
        if !text.contains("://") && path.is_dir() {
            return Ok(Place::Dir(path.to_owned()));
        }
        match Address::parse(text) {
            Ok(address) => Ok(Place::Url(address)),
            Err(_) if !text.contains(':') => Err(Failed::unable(format!("{text} is neither a directory nor an address"))),
            Err(error) => Err(error),
        }
    }
}

impl Address {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Address, Failed> {
        let bad = |why: &str| Failed::unable(format!("{text}: {why}"));
        let rest = match text.split_once("://") {
            Some(("ws" | "http", rest)) => rest,
            Some(("wss" | "https", _)) => return Err(bad("TLS is not supported; put a proxy in front, or use ws://")),
            Some((scheme, _)) => return Err(bad(&format!("{scheme}:// is no address of a backend"))),
            None => text,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.split(['?', '#']).next().unwrap_or("").trim_matches('/');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| bad("the port must be a number from 1 to 65535"))?)
            }
            _ => (authority, DEFAULT_PORT),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if host.is_empty() || port == 0 || !host.chars().all(is_host) {
            return Err(bad("expected HOST:PORT"));
        }
        let named = text.contains("://") || authority.contains(':') || host == "localhost" || host.contains('.');
        if !named {
            return Err(bad("expected HOST:PORT"));
        }
        let mount = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Address { host: host.to_owned(), port, mount })
    }

    /// `host:port`
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Of the WebSocket.
    pub fn ws(&self) -> String {
        format!("ws://{}{}/", self.authority(), self.mount)
    }

    /// Of something below the mount, which begins with a slash.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{}{path}", self.authority(), self.mount)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.ws())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address() {
        for (text, ws) in [
            ("localhost:5555", "ws://localhost:5555/"),
            ("localhost", "ws://localhost:5555/"),
            ("127.0.0.1:80", "ws://127.0.0.1:80/"),
            ("127.0.0.1:80/vm1", "ws://127.0.0.1:80/vm1/"),
            ("ws://localhost:1/a/b/", "ws://localhost:1/a/b/"),
            ("http://example.com/x?y#z", "ws://example.com:5555/x/"),
            ("[::1]:5556", "ws://[::1]:5556/"),
        ] {
            assert_eq!(Address::parse(text).expect(text).ws(), ws, "{text}");
        }
        for text in ["", ":5555", "localhost:0", "localhost:99999", "wss://x:1", "ftp://x", "a b:1", "counter"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
