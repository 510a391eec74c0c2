//! The flags of `glassbox vat serve` for mail with other kernels.

use crate::Failed;
use server::Backend;
use server::mail::{Carrier, Options, Secret};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;

/// The device that mail goes through.
pub const DEVICE: &str = "mailbox";

/// With whom vats exchange messages.
#[derive(clap::Args)]
pub struct Args {
    /// How other kernels call this one.
    #[arg(long, value_name = "NAME", help_heading = "Mail between kernels")]
    name: Option<String>,
    /// Where other kernels may connect; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", requires = "name", help_heading = "Mail between kernels")]
    listen_mail: Option<SocketAddr>,
    /// Another kernel; without a place, it connects to this one. May be given several times.
    #[arg(long, value_name = "NAME[=HOST:PORT]", requires = "name", value_parser = peer, help_heading = "Mail between kernels")]
    peer: Vec<Peer>,
    /// A file with a secret, at least 16 bytes, that all of them know. Without it, whoever reaches the port can say that he is a peer.
    #[arg(long, value_name = "FILE", requires = "name", help_heading = "Mail between kernels")]
    mail_secret: Option<PathBuf>,
}

/// Its name, and where it listens.
type Peer = (String, Option<String>);

fn peer(text: &str) -> Result<Peer, String> {
    let Some((name, place)) = text.split_once('=') else { return Ok((text.to_owned(), None)) };
    match place.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok((name.to_owned(), Some(place.to_owned())))
        }
        _ => Err(format!("'{place}' is no HOST:PORT")),
    }
}

/// What is needed for mail, before anything is served.
pub struct Mail {
    options: Options,
    listener: Option<TcpListener>,
}

impl Args {
    /// Whether there is to be mail at all.
    pub fn are_given(&self) -> bool {
        self.listen_mail.is_some() || !self.peer.is_empty()
    }

    /// Takes the port, and says which.
    pub async fn prepare(self) -> Result<Option<Mail>, Failed> {
        if !self.are_given() {
            return Ok(None);
        }
        let mut peers = BTreeMap::new();
        for (name, place) in self.peer {
            if let Some(known) = peers.insert(name, place) {
                let place = known.map_or_else(String::new, |place| format!(" at {place}"));
                return Err(Failed::unable(format!("a peer is given twice: the one{place}")));
            }
        }
        let secret = match &self.mail_secret {
            None => None,
            Some(file) => {
                let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
                let secret = read.and_then(|text| Secret::new(&text));
                Some(secret.map_err(|error| Failed::unable(format!("{}: {error}", file.display())))?)
            }
        };
        let options = Options { name: self.name.unwrap_or_default(), peers, secret };
        if let Some(problem) = options.problem() {
            return Err(Failed::unable(problem));
        }
        let Some(at) = self.listen_mail else { return Ok(Some(Mail { options, listener: None })) };
        let listener = TcpListener::bind(at).await.map_err(|error| Failed::new(format!("Cannot listen on {at}: {error}")))?;
        let at = listener.local_addr().map_err(Failed::new)?;
        if options.secret.is_none() && !at.ip().is_loopback() {
            eprintln!("WARNING: without --mail-secret, whoever reaches {at} can say that he is a peer.");
        }
        println!("Mail at {at}");
        Ok(Some(Mail { options, listener: Some(listener) }))
    }
}

impl Mail {
    /// Mail comes and goes as long as the value lives.
    pub fn carry(self, backend: &Backend) -> Carrier {
        Carrier::start(backend, self.options, self.listener)
    }
}

#[cfg(test)]
mod tests {
    use super::peer;

    #[test]
    fn how_a_peer_is_given() {
        for (text, name, place) in
            [("a", "a", None), ("a=localhost:1", "a", Some("localhost:1")), ("a=[::1]:65535", "a", Some("[::1]:65535"))]
        {
            assert_eq!(peer(text), Ok((name.to_owned(), place.map(str::to_owned))));
        }
        for text in ["a=", "a=b", "a=b:", "a=:1", "a=b:0", "a=b:65536", "a=b:c"] {
            assert!(peer(text).is_err(), "{text}");
        }
    }
}
