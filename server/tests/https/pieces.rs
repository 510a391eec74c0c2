//! How bytes are cut into packets makes no difference, and no bytes harm the server.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(Limits { body_bytes: 100, ..Limits::default() }, None));

/// What comes back for bytes that are sent in these pieces.
fn replies(bytes: &[u8], mut cuts: Vec<usize>) -> Vec<u8> {
    cuts.iter_mut().for_each(|cut| *cut %= bytes.len() + 1);
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let mut stream = SERVER.connect();
    for cut in cuts.windows(2) {
        // The server may have refused what it has.
        if stream.write_all(&bytes[cut[0]..cut[1]]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    got
}

fn request() -> impl Strategy<Value = String> {
    let good = prop_oneof![
        "GET /[a-z?=%]{0,9} HTTP/1\\.1\r\nHost: h\r\n(X-[a-c]: ?[ -~ä]{0,9}\r\n){0,3}\r\n",
        "HEAD / HTTP/1\\.1\r\nHost: h\r\n\r\n",
        "[!-~ä]{0,9}".prop_map(|body| format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}\r\n", body.len())),
        prop::collection::vec("[!-~\r\n]{1,40}", 0..4).prop_map(|chunks| {
            let chunks: String = chunks.iter().map(|chunk| format!("{:x};a=b\r\n{chunk}\r\n", chunk.len())).collect();
            format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\nx: y\r\n\r\n")
        }),
    ];
    let bad = prop_oneof![
        Just("\r\n\r\n"),
        Just("GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n"),
        Just("GET / HTTP/1.1\r\nHost : h\r\n\r\n"),
        Just("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n"),
        Just("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1g\r\n"),
    ];
    prop_oneof![9 => good, 1 => bad.prop_map(str::to_owned)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn requests_in_any_pieces(
        requests in prop::collection::vec(request(), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 1..12),
    ) {
        let bytes = requests.concat().into_bytes();
        prop_assert_eq!(replies(&bytes, vec![]), replies(&bytes, cuts));
    }

    #[test]
    fn broken_requests_in_any_pieces(
        request in request(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cuts in prop::collection::vec(any::<usize>(), 0..5),
    ) {
        let mut bytes = request.into_bytes();
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[at % length] = byte;
        }
        let whole = replies(&bytes, vec![]);
        prop_assert_eq!(&whole, &replies(&bytes, cuts));
        prop_assert!(whole.is_empty() || whole.starts_with(b"HTTP/1.1 "));
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        replies(&bytes, vec![]);
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        prop_assert_eq!(replies(request, vec![]), echoed("[GET / {host=h} none ]").into_bytes());
    }
}
