//! TLS: with and without client certificates, resumed, and broken.

use super::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use std::process::Command;

type Stream = StreamOwned<ClientConnection, TcpStream>;

struct Identity {
    certificate: String,
    key: String,
}

fn identity(names: &[&str]) -> Identity {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    Identity { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn start() -> (Server, Identity) {
    let identity = identity(&["localhost", "127.0.0.1"]);
    let config = front::tls_config(&identity.certificate, &identity.key).unwrap();
    (Server::start(Limits { head_timeout: Duration::from_millis(500), ..Limits::default() }, Some(config)), identity)
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn client(server: &Identity, client: Option<&Identity>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(der(&server.certificate)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![der(certificate)], key).unwrap()
        }
    };
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

fn connect(server: &Server, config: &Arc<ClientConfig>) -> Stream {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), server.connect())
}

fn get(stream: &mut Stream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    until(stream, "]")
}

#[test]
fn with_and_without_a_client_certificate_and_resumed() {
    let (server, own) = start();
    let someone = identity(&["someone"]);
    let length = der(&someone.certificate).len();
    for (config, expected) in [(client(&own, None), "none".to_owned()), (client(&own, Some(&someone)), format!("{length} bytes"))]
    {
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut stream = connect(&server, &config);
            for _ in 0..2 {
                assert_eq!(get(&mut stream), echoed(&format!("[GET / {{host=h}} {expected} ]")));
            }
            assert_eq!(stream.conn.handshake_kind(), Some(kind));
            assert_eq!(stream.conn.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        }
    }
}

#[test]
fn what_was_pipelined_and_cut_is_answered_in_order() {
    let (server, own) = start();
    let mut stream = connect(&server, &client(&own, None));
    let body = "x".repeat(100_000);
    let requests = format!(
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}GET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        body.len()
    );
    for piece in requests.as_bytes().chunks(7_777) {
        stream.write_all(piece).unwrap();
    }
    let got = rest(stream);
    assert!(got.starts_with(&echoed(&format!("[PUT / {{host=h|content-length=100000}} none {body}]"))));
    assert!(got.ends_with("[GET /b {host=h|connection=close} none ]"));
}

#[test]
fn garbage_and_plain_http_do_not_disturb_others() {
    let (server, own) = start();
    let mut other = connect(&server, &client(&own, None));
    get(&mut other);
    for garbage in [&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", &[0x16; 300], b""] {
        let mut stream = server.connect();
        stream.write_all(garbage).unwrap();
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        assert!(!got.starts_with(b"HTTP"), "{got:?}");
    }
    assert_eq!(get(&mut other), echoed("[GET / {host=h} none ]"));
}

/// Shows a certificate that it cannot use.
fn impostor(own: &Identity, leaf: CertificateDer<'static>, key: &str) -> Arc<ClientConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![leaf], key);
    let mut config = ClientConfig::clone(&client(own, None));
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    Arc::new(config)
}

#[test]
fn a_client_must_have_the_key_of_a_well_formed_certificate() {
    let (server, own) = start();
    let (someone, thief) = (identity(&["someone"]), identity(&["thief"]));
    let leaf = der(&someone.certificate);
    let longer = [leaf.as_ref(), &[0]].concat();
    let shorter = leaf[..leaf.len() - 1].to_vec();
    let get = |leaf: CertificateDer<'static>, key: &str| {
        let mut stream = connect(&server, &impostor(&own, leaf, key));
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        stream.read(&mut [0; 100]).is_ok_and(|read| read > 0)
    };
    assert!(get(leaf.clone(), &someone.key));
    assert!(!get(leaf, &thief.key));
    assert!(!get(longer.into(), &someone.key));
    assert!(!get(shorter.into(), &someone.key));
    assert!(!get(b"garbage".to_vec().into(), &someone.key));
}

#[test]
fn records_without_content_do_not_keep_a_connection() {
    let own = identity(&["localhost"]);
    let config = front::tls_config(&own.certificate, &own.key).unwrap();
    let limits = Limits { idle_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start(limits, Some(config));
    let mut stream = connect(&server, &client(&own, None));
    get(&mut stream);
    let start = std::time::Instant::now();
    loop {
        // A key update is a record that carries nothing.
        if stream.conn.refresh_traffic_keys().is_err() || stream.flush().is_err() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn unusable_keys_and_chains() {
    let (one, two) = (identity(&["a"]), identity(&["b"]));
    assert!(matches!(front::tls_config("", &one.key), Err(front::TlsError::Chain(_))));
    assert!(matches!(front::tls_config(&one.certificate, "nonsense"), Err(front::TlsError::Key(_))));
    assert!(matches!(front::tls_config(&one.certificate, &two.key), Err(front::TlsError::Unusable(_))));
}

/// Runs a program; `scripts/deps.sh` brings those that are used here.
fn run(program: &str, dir: &std::path::Path, args: &str) -> (bool, String) {
    let output = Command::new(program).current_dir(dir).args(args.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn curl_with_the_certificates_that_openssl_makes() {
    let (server, own) = start();
    let dir = std::env::temp_dir().join(format!("https-test-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("ca.pem"), &own.certificate).unwrap();
    std::fs::write(dir.join("body"), "x".repeat(500_000)).unwrap();
    let port = server.address.port();
    let curl = |args: &str| run("curl", &dir, &format!("-sS -i --cacert ca.pem {args} https://localhost:{port}/a"));
    let (_, got) = curl("");
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.contains("[GET /a ") && got.ends_with(" none ]"), "{got}");
    let (_, got) = curl("-I");
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\n"), "{got}");
    for how in ["-T body -H Expect:100-continue", "-X PUT -H Transfer-Encoding:chunked --data-binary @body"] {
        let (_, got) = curl(how);
        assert!(got.contains("HTTP/1.1 200 OK\r\n") && got.ends_with("xxx]"), "{how}: {:?}", &got[..got.len().min(500)]);
    }
    let (_, got) = curl("--tls-max 1.2");
    assert!(!got.contains("200"), "{got}");
    let url = format!("https://localhost:{port}");
    let (_, got) = run("curl", &dir, &format!("-sS -v --cacert ca.pem {url}/1 {url}/2"));
    assert!(got.contains("Re-using existing connection") && got.contains("[GET /2 "), "{got}");

    // Self-signed with the curves that are in use, and version 1 from a private authority.
    let openssl = |args: &str| {
        let (good, said) = run("openssl", &dir, args);
        assert!(good, "openssl {args}: {said}");
    };
    for curve in ["prime256v1", "secp384r1", "secp521r1"] {
        openssl(&format!("ecparam -name {curve} -genkey -noout -out k.pem"));
        openssl("req -new -x509 -nodes -key k.pem -subj /CN=me -days 2 -sha384 -out c.pem");
        let (_, got) = curl("--cert c.pem --key k.pem");
        assert!(got.contains("200 OK") && got.contains(" bytes ]"), "{curve}: {got}");
    }
    openssl("req -newkey rsa:2048 -nodes -keyout k.pem -subj /CN=me -out r.pem");
    openssl("req -new -x509 -newkey rsa:2048 -nodes -keyout ak.pem -subj /CN=authority -out a.pem");
    openssl("x509 -req -in r.pem -CA a.pem -CAkey ak.pem -set_serial 7 -out c.pem");
    let (_, text) = run("openssl", &dir, "x509 -in c.pem -noout -text");
    assert!(text.contains("Version: 1 ") || text.contains("Version: 3 "));
    let (_, got) = curl("--cert c.pem --key k.pem");
    assert!(got.contains("200 OK") && got.contains(" bytes ]"), "{got}");
    let _ = std::fs::remove_dir_all(dir);
}
