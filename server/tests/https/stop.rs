//! Stopping.

use super::*;
use std::time::Instant;

#[test]
fn requests_in_flight_are_answered_and_idle_connections_end() {
    let mut server = Server::start(Limits::default(), None);
    let request = b"GET /later HTTP/1.1\r\nHost: h\r\n\r\n";
    let never = server.connect();
    let mut idle = server.connect();
    idle.write_all(request).unwrap();
    until(&mut idle, "]");
    let mut busy = server.connect();
    busy.write_all(request).unwrap();
    let mut sending = server.connect();
    sending.write_all(&request[..20]).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let start = Instant::now();
    server.stop();
    assert_eq!(rest(never), "");
    assert_eq!(rest(idle), "");
    assert!(start.elapsed() < Duration::from_secs(5));
    sending.write_all(&request[20..]).unwrap();
    for stream in [busy, sending] {
        let got = rest(stream);
        assert!(got.ends_with("\r\nconnection: close\r\n\r\n[GET /later {host=h} none ]"), "{got}");
    }
    let address = server.address;
    server.join();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_handler_that_panics_ends_its_connection_only() {
    let handler = |incoming: Incoming, reply: ReplyTo| {
        assert_ne!(incoming.target, "/panic");
        echo(incoming, reply);
    };
    let mut server = Server::with(handler, Limits { connections: 1, ..Limits::default() }, None);
    assert_eq!(server.exchange("GET /panic HTTP/1.1\r\nHost: h\r\n\r\n"), "");
    assert_eq!(server.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), echoed("[GET / {host=h} none ]"));
    server.stop();
    server.join();
}
