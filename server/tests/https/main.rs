//! The HTTPS front end over real sockets.

#![allow(missing_docs, clippy::unwrap_used)] // also in the helpers of the tests

mod hostile;
mod http;
mod pieces;
mod stop;
mod tls;

use server::https::{self as front, Incoming, Limits, Reply, ReplyTo};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A server with the handler [`echo`] that lives as long as this.
pub struct Server {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<()>>,
    runtime: Runtime,
}

impl Server {
    pub fn start(limits: Limits, tls: Option<rustls::ServerConfig>) -> Server {
        Server::with(echo, limits, tls)
    }

    pub fn with(handler: impl front::Handler, limits: Limits, tls: Option<rustls::ServerConfig>) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        let served = runtime.spawn(front::serve(listener, tls.map(Arc::new), Arc::new(handler), limits, stopped));
        Server { address, stop: Some(stop), served: Some(served), runtime }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// What comes back for these bytes until the server ends the connection.
    pub fn exchange(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        rest(stream)
    }

    /// Asks the server to stop.
    pub fn stop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }

    /// Waits until it has stopped.
    pub fn join(mut self) {
        let served = self.served.take().unwrap();
        self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), served).await.unwrap().unwrap() });
    }
}

/// Everything until the end of the connection.
pub fn rest(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads until `text` has come.
pub fn until(stream: &mut impl Read, text: &str) -> String {
    let mut got = String::new();
    while !got.ends_with(text) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{got:?}");
        got.push(byte[0] as char);
    }
    got
}

/// Replies with what it was given.
pub fn echo(incoming: Incoming, reply: ReplyTo) {
    let Incoming { method, target, headers, body, certificate } = incoming;
    if target == "/drop" {
        return;
    }
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let certificate = certificate.map_or("none".into(), |der| format!("{} bytes", der.len()));
    let text = format!("[{method} {target} {{{}}} {certificate} ", headers.join("|"));
    let body = [text.as_bytes(), &body, b"]"].concat();
    let replied = Reply { status: 200, headers: vec![("X-Y".into(), "z".into())], body };
    if target == "/later" {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            reply.send(replied);
        });
    } else {
        reply.send(replied);
    }
}

/// The reply of [`echo`].
pub fn echoed(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nx-y: z\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
