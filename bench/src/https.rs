//! The load client for bundles: so many TLS connections, one request at a time on each, every reply checked.

use crate::load::Measured;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long one reply may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to send, and how often.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// The service's certificate.
    pub roots: &'a Path,
    pub port: u16,
    pub method: &'a str,
    pub path: &'a str,
    pub connections: usize,
    /// In all.
    pub requests: usize,
}

/// Runs the load on a thread of its own.
pub fn run(load: Load) -> Result<Measured, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(all(load))
}

async fn all(load: Load<'_>) -> Result<Measured, String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(load.roots).map_err(|error| error.to_string())?;
    roots.add(certificate).map_err(|error| error.to_string())?;
    let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
    let mut streams = Vec::new();
    for _ in 0..load.connections {
        streams.push(connect(load.port, config.clone()).await?);
    }
    let request = format!("{} {} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", load.method, load.path, load.port);
    let each = load.requests / load.connections;
    let began = Instant::now();
    let drives = streams.into_iter().map(|stream| {
        let request = request.clone();
        tokio::spawn(async move {
            tokio::time::timeout(PATIENCE, drive(stream, &request, each)).await.map_err(|_| "replies do not come".to_owned())?
        })
    });
    let mut latencies_us = Vec::with_capacity(load.requests);
    for drive in drives.collect::<Vec<_>>() {
        latencies_us.extend(drive.await.map_err(|error| error.to_string())??);
    }
    Ok(Measured::new(latencies_us, began.elapsed()))
}

async fn connect(port: u16, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let name = ServerName::try_from("127.0.0.1").map_err(|error| error.to_string())?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| error.to_string())
}

async fn drive(mut stream: TlsStream<TcpStream>, request: &str, count: usize) -> Result<Vec<f64>, String> {
    let mut latencies_us = Vec::with_capacity(count);
    let mut buffer = vec![0; 64 << 10];
    for _ in 0..count {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        stream.flush().await.map_err(|error| error.to_string())?;
        let mut len = 0;
        loop {
            let more = stream.read(&mut buffer[len..]).await.map_err(|error| error.to_string())?;
            len += more;
            if more == 0 {
                return Err(format!("a connection ended: {}", String::from_utf8_lossy(&buffer[..len])));
            }
            if is_whole(&buffer[..len]) {
                break;
            }
        }
        if !buffer.starts_with(b"HTTP/1.1 200 ") {
            return Err(String::from_utf8_lossy(&buffer[..len]).into_owned());
        }
        latencies_us.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies_us)
}

/// Whether a reply is there to its end.
fn is_whole(reply: &[u8]) -> bool {
    let Some(head) = reply.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&reply[..head]);
    let len = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or(0);
    reply.len() >= head + 4 + len
}

/// One client alone: a write, then its receipt, as often as `requests` says. From the first byte of the write on.
pub fn receipted(load: Load) -> Result<Measured, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(load.roots).map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
        let mut stream = connect(load.port, config).await?;
        let mut latencies_us = Vec::new();
        let all = Instant::now();
        for _ in 0..load.requests {
            let began = Instant::now();
            let write = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n\r\n", load.method, load.path);
            let reply = ask(&mut stream, &write).await?;
            let txid =
                reply.lines().find_map(|line| line.strip_prefix("x-ms-ccf-transaction-id: ")).ok_or("no transaction id")?;
            let read = format!("GET /app/receipt?transaction_id={txid} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            while !ask(&mut stream, &read).await?.starts_with("HTTP/1.1 200 ") {
                if began.elapsed() > PATIENCE {
                    return Err("no receipt comes".to_owned());
                }
            }
            latencies_us.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(Measured::new(latencies_us, all.elapsed()))
    })
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> Result<String, String> {
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    let mut reply = Vec::new();
    let mut buffer = [0; 16 << 10];
    while !is_whole(&reply) {
        match stream.read(&mut buffer).await.map_err(|error| error.to_string())? {
            0 => return Err("the connection ended".into()),
            more => reply.extend_from_slice(&buffer[..more]),
        }
    }
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
