//! What the function of an oracle gets of the real world: the clock, chance, and `fetch` to the hosts that the operator named.
//!
//! Nothing of this is ever done again: what the function returned stands in the ledger, and a restart or an audit reads it there.
//!
//! # Invariants
//!
//! - No connection to a host or a port that the operator did not name. The URL is parsed once: what is compared is what is
//!   connected to. No redirect is followed; the script may fetch where it leads to, if that is allowed.
//! - No wait beyond the oracle's deadline.
//! - Nothing from the environment or from earlier requests: no proxy, no cookies, no credentials.
//!
//! A name may stand for any address, private ones too, and may stand for another one tomorrow: whoever allows a name trusts
//! those who answer for it. An operator who does not allows an address.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sandbox::{Answer, Level, World};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use ureq::http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};

/// Bytes of a request's body.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;

/// Headers that a script may give a request, and their bytes.
const MAX_REQUEST_HEADERS: usize = 100;
const MAX_REQUEST_HEADER_BYTES: usize = 32 << 10;

/// Bytes of a URL.
const MAX_URL_BYTES: usize = 16 << 10;

/// Bytes of a response's body.
pub const MAX_RESPONSE_BYTES: u64 = 1 << 20;

/// Bytes of a response's head.
const MAX_RESPONSE_HEAD_BYTES: usize = 64 << 10;

/// What `fetch` can ask for.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// Headers about the connection and the message's length: those are not the script's.
const RESERVED_HEADERS: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const USER_AGENT: &str = concat!("glassbox/", env!("CARGO_PKG_VERSION"));

/// A host that `fetch` may reach: `HOST[:PORT]`, where `HOST` is a name, an IPv4 address or `[an IPv6 address]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// A name in lower case, `1.2.3.4` or `[::1]`.
    pub host: String,
    /// `None`: the ports of http and https, 80 and 443.
    pub port: Option<u16>,
}

/// Why a text names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostSyntaxError {
    /// A wildcard.
    #[error("each host has to be named, without *")]
    Wildcard,
    /// Neither a name nor an address.
    #[error("HOST[:PORT] is expected, where HOST is a name, an IPv4 address or [an IPv6 address]")]
    Host,
    /// A port out of range, or not as numbers are written.
    #[error("the port is a number from 1 to 65535")]
    Port,
}

impl FromStr for AllowedHost {
    type Err = HostSyntaxError;

    fn from_str(text: &str) -> Result<AllowedHost, HostSyntaxError> {
        if text.contains('*') {
            return Err(HostSyntaxError::Wildcard);
        }
        let host_len = match text.strip_prefix('[') {
            Some(rest) => rest.find(']').map_or(text.len(), |end| end + 2),
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(host_len);
        let host = canonical_host(host).ok_or(HostSyntaxError::Host)?;
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            // An IPv6 address without its brackets.
            Some(port) if port.contains(':') => return Err(HostSyntaxError::Host),
            Some(port) => Some(canonical_port(port).ok_or(HostSyntaxError::Port)?),
            None => return Err(HostSyntaxError::Host),
        };
        Ok(AllowedHost { host, port })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl AllowedHost {
    fn covers(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port.map_or(matches!(port, 80 | 443), |allowed| allowed == port)
    }
}

/// The one spelling of a host; `None` if the text is none.
fn canonical_host(host: &str) -> Option<String> {
    if let Some(rest) = host.strip_prefix('[') {
        let address: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return None;
    }
    // Resolvers take `127.1`, `2130706433` and `0x7f.1` for addresses too. Here, an address has one spelling.
    let last = host.rsplit('.').next().unwrap_or(host);
    if last.starts_with(|first: char| first.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    Some(host.to_ascii_lowercase())
}

fn canonical_port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port != 0 && port.to_string() == text).then_some(port)
}

type Console = Box<dyn FnMut(Level, &str) + Send>;

/// The real world, for one oracle.
pub struct LiveWorld {
    allowed: Arc<[AllowedHost]>,
    timeout: Duration,
    deadline: Instant,
    /// A request was cut off by the deadline.
    late: bool,
    roots: RootCerts,
    console: Console,
}

impl LiveWorld {
    /// From now on the oracle may take `timeout`. `console` gets the lines that the function prints.
    pub fn new(allowed: Arc<[AllowedHost]>, timeout: Duration, console: impl FnMut(Level, &str) + Send + 'static) -> LiveWorld {
        let deadline = Instant::now() + timeout;
        LiveWorld { allowed, timeout, deadline, late: false, roots: RootCerts::WebPki, console: Box::new(console) }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn exchange(&self, request: &str, body: &[u8]) -> Result<Vec<u8>, FetchError> {
        let Asked { url, method, headers } = serde_json::from_str(request).map_err(|_| FetchError::failed("no request"))?;
        let Target { uri, host, port } = Target::parse(&url)?;
        if !self.allowed.iter().any(|allowed| allowed.covers(&host, port)) {
            return Err(FetchError::NotAllowed { host, port });
        }
        let request = build(uri.clone(), &method, &headers)?;
        let head_only = matches!(*request.method(), Method::GET | Method::HEAD);
        if head_only && !body.is_empty() {
            return Err(FetchError::Failed(format!("a {} request has no body", request.method())));
        }
        if body.len() > MAX_REQUEST_BYTES {
            return Err(FetchError::Failed(format!("the body takes {} bytes; the limit is {MAX_REQUEST_BYTES}", body.len())));
        }
        let agent = self.agent();
        let with_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) || !body.is_empty();
        let response = if with_body { agent.run(request.map(|()| body)) } else { agent.run(request) };
        let mut response = response?;
        let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec()?;
        Ok(encode(&uri, &response, &body))
    }

    fn agent(&self) -> ureq::Agent {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder().root_certs(self.roots.clone()).unversioned_rustls_crypto_provider(provider).build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(self.left()))
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(MAX_RESPONSE_HEAD_BYTES)
            .max_idle_connections(0)
            .user_agent(USER_AGENT)
            // What comes is what the script gets: nothing here would unpack it.
            .accept_encoding(ureq::config::AutoHeaderValue::None);
        ureq::Agent::new_with_config(config.build())
    }

    fn late(&self) -> (String, String) {
        let took = match self.timeout.as_millis() {
            1_000 => "1 second".to_owned(),
            ms if ms % 1_000 == 0 => format!("{} seconds", ms / 1_000),
            ms => format!("{ms} milliseconds"),
        };
        ("OracleTimeoutError".into(), format!("The oracle took longer than {took}"))
    }
}

impl World for LiveWorld {
    fn now_us(&mut self) -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_micros() as f64)
    }

    fn seed(&mut self) -> u64 {
        let mut seed = [0; 8];
        SystemRandom::new().fill(&mut seed).expect("the system has randomness");
        u64::from_le_bytes(seed)
    }

    fn wait(&mut self, ms: f64) {
        let wanted = Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(if ms > 0.0 { Duration::MAX } else { Duration::ZERO });
        std::thread::sleep(wanted.min(self.left()));
    }

    fn over(&mut self) -> Option<(String, String)> {
        (self.late || self.left().is_zero()).then(|| self.late())
    }

    fn console(&mut self, level: Level, line: &str) {
        (self.console)(level, line);
    }

    fn fetch(&mut self, request: &str, body: &[u8]) -> Answer {
        let fetched = if self.left().is_zero() { Err(FetchError::Late) } else { self.exchange(request, body) };
        let error = match fetched {
            Ok(answer) => return Answer::Bytes(answer),
            Err(error) => error,
        };
        let (name, message) = match error {
            FetchError::Late => {
                self.late = true;
                self.late()
            }
            FetchError::NotAllowed { .. } => ("HostNotAllowedError".into(), error.to_string()),
            FetchError::TooLarge => ("OracleResultTooLargeError".into(), error.to_string()),
            FetchError::Failed(_) => ("TypeError".into(), error.to_string()),
        };
        Answer::Refused { name: name.into(), message }
    }
}

/// Why there is no response. The text is the script's: it tells nothing of this machine.
#[derive(Debug, PartialEq, thiserror::Error)]
enum FetchError {
    #[error("fetch failed: {0}")]
    Failed(String),
    #[error("{host}:{port} is not allowed: the operator has to start the backend with --allow-net {host}:{port}")]
    NotAllowed { host: String, port: u16 },
    #[error("The response takes more than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
    #[error("the deadline")]
    Late,
}

impl FetchError {
    fn failed(why: &str) -> FetchError {
        FetchError::Failed(why.to_owned())
    }
}

impl From<ureq::Error> for FetchError {
    fn from(error: ureq::Error) -> FetchError {
        FetchError::failed(match error {
            ureq::Error::Timeout(_) => return FetchError::Late,
            ureq::Error::BodyExceedsLimit(_) => return FetchError::TooLarge,
            ureq::Error::LargeResponseHeader(..) => "the head of the response is too large",
            ureq::Error::Protocol(_) => "the answer is not HTTP",
            ureq::Error::Rustls(error) => tls_words(&error),
            ureq::Error::Tls(_) => "the TLS handshake failed",
            ureq::Error::Io(error) => io_words(&error),
            _ => "the host cannot be reached",
        })
    }
}

fn io_words(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    match error.kind() {
        _ if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            error.get_ref().and_then(|inner| inner.downcast_ref()).map_or("the TLS handshake failed", tls_words)
        }
        ErrorKind::ConnectionRefused => "the connection was refused",
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            "the connection ended before the response did"
        }
        // No route, or a name that nobody knows, which has no kind of its own.
        _ => "the host cannot be reached",
    }
}

fn tls_words(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(_) => "the host's certificate is not valid",
        _ => "the TLS handshake failed",
    }
}

/// What the prelude's `fetch` sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    url: String,
    method: String,
    headers: Vec<(String, String)>,
}

/// A URL that was taken apart.
#[derive(Debug)]
struct Target {
    uri: Uri,
    host: String,
    port: u16,
}

impl Target {
    /// `http://HOST[:PORT][/…]` or `https://…`, in characters of ASCII, and without a user's name.
    fn parse(url: &str) -> Result<Target, FetchError> {
        if url.len() > MAX_URL_BYTES {
            return Err(FetchError::Failed(format!("the URL takes {} bytes; the limit is {MAX_URL_BYTES}", url.len())));
        }
        let bad = |why: &str| FetchError::Failed(format!("{url} {why}"));
        if !url.is_ascii() {
            return Err(bad("is no URL: what is not ASCII has to be percent-encoded"));
        }
        let uri: Uri = url.parse().map_err(|_| bad("is no URL"))?;
        let default_port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(bad("is no http:// or https:// URL")),
        };
        let authority = uri.authority().ok_or_else(|| bad("is no URL"))?;
        if authority.as_str().contains('@') {
            return Err(bad("names a user; send an authorization header"));
        }
        let host = canonical_host(authority.host()).ok_or_else(|| bad("names no host"))?;
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => default_port,
            Some(port) => canonical_port(port).ok_or_else(|| bad("names no port"))?,
        };
        Ok(Target { uri, host, port })
    }
}

fn build(uri: Uri, method: &str, headers: &[(String, String)]) -> Result<Request<()>, FetchError> {
    let named = METHODS.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(method));
    let method = named.ok_or_else(|| FetchError::Failed(format!("{method} is no method that fetch knows")))?;
    let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > MAX_REQUEST_HEADERS || header_bytes > MAX_REQUEST_HEADER_BYTES {
        return Err(FetchError::Failed(format!(
            "more than {MAX_REQUEST_HEADERS} headers, or {MAX_REQUEST_HEADER_BYTES} bytes of them"
        )));
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for (name, value) in headers {
        let known = HeaderName::from_str(name).map_err(|_| FetchError::Failed(format!("{name} is no header's name")))?;
        if RESERVED_HEADERS.contains(&known) {
            return Err(FetchError::Failed(format!("the header {known} is not the script's to set")));
        }
        let value = HeaderValue::from_str(value).ok().filter(|value| value.as_bytes().is_ascii());
        let value =
            value.ok_or_else(|| FetchError::Failed(format!("the header {known} has characters that headers cannot have")))?;
        request.headers_mut().append(known, value);
    }
    Ok(request)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    status: u16,
    status_text: &'a str,
    url: String,
    headers: Vec<(&'a str, String)>,
}

/// A line of JSON, then the body.
fn encode(uri: &Uri, response: &Response<ureq::Body>, body: &[u8]) -> Vec<u8> {
    // A header's bytes are characters up to U+00FF, as browsers have it.
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|&byte| char::from(byte)).collect();
    let head = Head {
        status: response.status().as_u16(),
        // The reason that the server gave is lost, and means nothing.
        status_text: response.status().canonical_reason().unwrap_or_default(),
        url: uri.to_string(),
        headers: response.headers().iter().map(|(name, value)| (name.as_str(), text(value))).collect(),
    };
    let mut answer = serde_json::to_vec(&head).expect("strings and numbers can be written");
    answer.push(b'\n');
    answer.extend_from_slice(body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Mutex, mpsc};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn allow(hosts: &[&str]) -> Arc<[AllowedHost]> {
        hosts.iter().map(|host| host.parse().unwrap()).collect()
    }

    fn world(hosts: &[&str]) -> LiveWorld {
        LiveWorld::new(allow(hosts), PATIENCE, |_, _| {})
    }

    /// A server on this machine: each connection gets the next answer. Tells what it was asked.
    fn serve(answers: Vec<Vec<u8>>) -> (u16, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = tell.send(request(&mut stream));
                let _ = stream.write_all(&answer);
            }
        });
        (port, asked)
    }

    /// Reads a request: its head, and as much of a body as it says.
    fn request(stream: &mut impl Read) -> String {
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            text.push(char::from(byte[0]));
        }
        let len = text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |len| len.parse().unwrap());
        let mut body = vec![0; len];
        stream.read_exact(&mut body).unwrap();
        text + &String::from_utf8_lossy(&body)
    }

    fn ask(world: &mut LiveWorld, url: &str) -> Answer {
        ask_with(world, "GET", url, &[], b"")
    }

    fn ask_with(world: &mut LiveWorld, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let asked = serde_json::json!({ "url": url, "method": method, "headers": headers });
        world.fetch(&asked.to_string(), body)
    }

    /// The head and the body.
    fn parts(answer: Answer) -> (serde_json::Value, Vec<u8>) {
        let Answer::Bytes(bytes) = answer else { panic!("{answer:?}") };
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
        (serde_json::from_slice(&bytes[..end]).unwrap(), bytes[end + 1..].to_vec())
    }

    fn refusal(answer: Answer) -> String {
        let Answer::Refused { name, message } = answer else { panic!("{answer:?}") };
        format!("{name}: {message}")
    }

    #[test]
    fn hosts_have_one_spelling() {
        let cases = [
            ("Example.ORG", Ok("example.org")),
            ("localhost:8080", Ok("localhost:8080")),
            ("a-b.c_d.xn--p1ai:1", Ok("a-b.c_d.xn--p1ai:1")),
            ("127.0.0.1:65535", Ok("127.0.0.1:65535")),
            ("[::1]", Ok("[::1]")),
            ("[0:0::0:1]:80", Ok("[::1]:80")),
            ("*", Err(HostSyntaxError::Wildcard)),
            ("*.example.org", Err(HostSyntaxError::Wildcard)),
            ("example.org:*", Err(HostSyntaxError::Wildcard)),
            ("", Err(HostSyntaxError::Host)),
            (":80", Err(HostSyntaxError::Host)),
            ("example.org.", Err(HostSyntaxError::Host)),
            ("a..b", Err(HostSyntaxError::Host)),
            ("-a", Err(HostSyntaxError::Host)),
            ("a b", Err(HostSyntaxError::Host)),
            ("bücher.example", Err(HostSyntaxError::Host)),
            ("example.org/path", Err(HostSyntaxError::Host)),
            ("user@example.org", Err(HostSyntaxError::Host)),
            ("::1", Err(HostSyntaxError::Host)),
            ("fe80::1:80", Err(HostSyntaxError::Host)),
            ("[::1", Err(HostSyntaxError::Host)),
            ("[ü", Err(HostSyntaxError::Host)),
            ("[", Err(HostSyntaxError::Host)),
            ("[::1]80", Err(HostSyntaxError::Host)),
            ("[::1%eth0]", Err(HostSyntaxError::Host)),
            ("[127.0.0.1]", Err(HostSyntaxError::Host)),
            ("127.1", Err(HostSyntaxError::Host)),
            ("127.0.0.01", Err(HostSyntaxError::Host)),
            ("2130706433", Err(HostSyntaxError::Host)),
            ("0x7f000001", Err(HostSyntaxError::Host)),
            ("http://example.org", Err(HostSyntaxError::Port)),
            ("example.org:", Err(HostSyntaxError::Port)),
            ("example.org:0", Err(HostSyntaxError::Port)),
            ("example.org:080", Err(HostSyntaxError::Port)),
            ("example.org:+80", Err(HostSyntaxError::Port)),
            ("example.org:65536", Err(HostSyntaxError::Port)),
        ];
        for (text, expected) in cases {
            let parsed = text.parse::<AllowedHost>();
            assert_eq!(parsed.clone().map(|host| host.to_string()), expected.map(str::to_owned), "{text}");
            if let Ok(host) = parsed {
                assert_eq!(host.to_string().parse(), Ok(host));
            }
        }
    }

    #[test]
    fn without_a_port_only_those_of_the_web() {
        let covers = |allowed: &str, host, port| allowed.parse::<AllowedHost>().unwrap().covers(host, port);
        assert!(covers("example.org", "example.org", 80) && covers("example.org", "example.org", 443));
        assert!(!covers("example.org", "example.org", 8080));
        assert!(covers("example.org:8080", "example.org", 8080));
        assert!(!covers("example.org:8080", "example.org", 80));
        assert!(!covers("example.org", "www.example.org", 80));
        assert!(!covers("example.org", "ample.org", 80));
    }

    #[test]
    fn urls_are_taken_literally() {
        let target = |url| Target::parse(url).map(|Target { host, port, .. }| format!("{host} {port}"));
        assert_eq!(target("http://Example.org"), Ok("example.org 80".into()));
        assert_eq!(target("https://example.org/a?b=//c@d#e"), Ok("example.org 443".into()));
        assert_eq!(target("https://[::1]:8443/"), Ok("[::1] 8443".into()));
        let bad = [
            "",
            "/path",
            "example.org",
            "//example.org",
            "http:example.org",
            "http:///path",
            "ftp://example.org",
            "file:///etc/passwd",
            "http://a@example.org",
            "http://a:b@example.org",
            "http://example.org:80@evil.example",
            "http://example.org\\@evil.example",
            "http://example.org:",
            "http://example.org:080",
            "http://example.org:99999",
            "http://example.org./",
            "http://127.1/",
            "http://0177.0.0.1/",
            "http://%6cocalhost/",
            "http://[::1%25lo]/",
            "http://example.org/a b",
            "http://example.org/\r\nx: y",
            "http://example.org/?\"",
            "http://bücher.example/",
            " http://example.org",
        ];
        for url in bad {
            assert!(matches!(target(url), Err(FetchError::Failed(_))), "{url}: {:?}", target(url));
        }
        let long = format!("http://example.org/{}", "a".repeat(MAX_URL_BYTES));
        assert_eq!(
            target(&long).unwrap_err().to_string(),
            format!("fetch failed: the URL takes {} bytes; the limit is 16384", long.len())
        );
    }

    #[test]
    fn a_response_comes_back_as_it_was() {
        let answer = b"HTTP/1.1 404 Whatever\r\nX-A: 1\r\nx-a: 2\r\nX-B: \xfc\r\ncontent-encoding: gzip\r\nset-cookie: a=b\r\n\
            content-length: 3\r\n\r\n\x00\n\xff";
        let (port, asked) = serve(vec![answer.to_vec(), b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()]);
        let mut world = world(&[&format!("127.0.0.1:{port}")]);
        let url = format!("http://127.0.0.1:{port}/a%20b?c=d#e");
        let (head, body) = parts(ask(&mut world, &url));
        let expected = serde_json::json!({
            "status": 404,
            "statusText": "Not Found",
            "url": format!("http://127.0.0.1:{port}/a%20b?c=d"),
            "headers": [["x-a", "1"], ["x-a", "2"], ["x-b", "ü"], ["content-encoding", "gzip"], ["set-cookie", "a=b"],
                ["content-length", "3"]],
        });
        assert_eq!((head, body), (expected, b"\0\n\xff".to_vec()));
        let (head, body) = parts(ask(&mut world, &url));
        assert_eq!((&head["status"], body.len()), (&204.into(), 0));
        // Nothing that was not asked for, and no cookie in the second request.
        let request =
            format!("GET /a%20b?c=d HTTP/1.1\r\nuser-agent: {USER_AGENT}\r\naccept: */*\r\nhost: 127.0.0.1:{port}\r\n\r\n");
        assert_eq!(asked.iter().collect::<Vec<_>>(), [request.clone(), request]);
    }

    #[test]
    fn methods_headers_and_bodies_go_out() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec();
        let (port, asked) = serve(vec![answer; 8]);
        let mut world = world(&[&format!("127.0.0.1:{port}")]);
        let url = format!("http://127.0.0.1:{port}/");
        let cases: [(&str, &[u8], &str); 8] = [
            ("get", b"", "GET"),
            ("HEAD", b"", "HEAD"),
            ("post", b"{}", "POST"),
            ("POST", b"", "POST"),
            ("PUT", &[b'x'; 100_000], "PUT"),
            ("PATCH", b"p", "PATCH"),
            ("DELETE", b"d", "DELETE"),
            ("OPTIONS", b"", "OPTIONS"),
        ];
        for (method, body, sent) in cases {
            let (head, _) = parts(ask_with(&mut world, method, &url, &[("X-Twice", "1"), ("x-twice", "a b")], body));
            assert_eq!(head["status"], 200);
            let request = asked.recv().unwrap();
            assert!(request.starts_with(&format!("{sent} / HTTP/1.1\r\n")), "{request}");
            assert!(request.contains("x-twice: 1\r\nx-twice: a b\r\n"), "{request}");
            let expects_length = !body.is_empty() || matches!(sent, "POST" | "PUT" | "PATCH");
            assert_eq!(request.contains(&format!("content-length: {}\r\n", body.len())), expects_length, "{request}");
            assert!(!request.contains("transfer-encoding"), "{request}");
            assert!(request.ends_with(&format!("\r\n\r\n{}", String::from_utf8_lossy(body))), "{sent}");
        }
    }

    #[test]
    fn what_no_request_can_have() {
        let mut world = world(&["127.0.0.1:1"]);
        let url = "http://127.0.0.1:1/";
        let mut refused =
            |method: &str, headers: &[(&str, &str)], body: &[u8]| refusal(ask_with(&mut world, method, url, headers, body));
        for name in ["Host", "content-length", "CONNECTION", "Transfer-Encoding", "expect", "upgrade"] {
            let expected = format!("TypeError: fetch failed: the header {} is not the script's to set", name.to_lowercase());
            assert_eq!(refused("GET", &[(name, "1")], b""), expected);
        }
        assert_eq!(refused("GET", &[("a b", "1")], b""), "TypeError: fetch failed: a b is no header's name");
        let expected = "TypeError: fetch failed: the header a has characters that headers cannot have";
        assert_eq!(refused("GET", &[("a", "1\r\nb: 2")], b""), expected);
        assert_eq!(refused("GET", &[("a", "ü")], b""), expected);
        let expected = "TypeError: fetch failed: more than 100 headers, or 32768 bytes of them";
        assert_eq!(refused("GET", &[("a", "1"); 101], b""), expected);
        assert_eq!(refused("GET", &[("a", &"1".repeat(32 << 10))], b""), expected);
        assert_eq!(refused("TRACE", &[], b""), "TypeError: fetch failed: TRACE is no method that fetch knows");
        assert_eq!(refused("GET", &[], b"x"), "TypeError: fetch failed: a GET request has no body");
        let expected = "TypeError: fetch failed: the body takes 1048577 bytes; the limit is 1048576";
        assert_eq!(refused("POST", &[], &vec![0; MAX_REQUEST_BYTES + 1]), expected);
        assert_eq!(refusal(world.fetch("{}", b"")), "TypeError: fetch failed: no request");
    }

    #[test]
    fn nobody_else_is_asked() {
        let (port, asked) = serve(vec![Vec::new()]);
        for allowed in [&[][..], &["127.0.0.1"], &["127.0.0.1:1"], &["localhost"]] {
            assert_eq!(
                refusal(ask(&mut world(allowed), &format!("http://127.0.0.1:{port}/"))),
                format!(
                    "HostNotAllowedError: 127.0.0.1:{port} is not allowed: \
                     the operator has to start the backend with --allow-net 127.0.0.1:{port}"
                )
            );
        }
        assert!(asked.try_recv().is_err());
        let expected = "HostNotAllowedError: [::1]:443 is not allowed: \
            the operator has to start the backend with --allow-net [::1]:443";
        assert_eq!(refusal(ask(&mut world(&["127.0.0.1"]), "https://[0::1]/")), expected);
    }

    #[test]
    fn a_redirect_is_a_response() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let location = format!("http://{}/", target.local_addr().unwrap());
        let cases = [301, 302, 303, 307, 308];
        let answer = |status| format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 2\r\n\r\nhi");
        let (port, _asked) = serve(cases.iter().map(|status| answer(status).into_bytes()).collect());
        let mut world = world(&[&format!("127.0.0.1:{port}"), location.strip_prefix("http://").unwrap().trim_end_matches('/')]);
        for status in cases {
            let (head, body) = parts(ask(&mut world, &format!("http://127.0.0.1:{port}/")));
            assert_eq!(
                (&head["status"], &head["headers"][0][1], body),
                (&status.into(), &location.clone().into(), b"hi".to_vec())
            );
        }
        target.set_nonblocking(true).unwrap();
        assert!(target.accept().is_err(), "nobody followed");
    }

    #[test]
    fn a_response_has_a_limit() {
        let sized = |len: u64| {
            let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n").into_bytes();
            answer.resize(answer.len() + len as usize, b'x');
            answer
        };
        let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..=16 {
            chunked.extend_from_slice(b"10000\r\n");
            chunked.resize(chunked.len() + 0x10000, b'x');
            chunked.extend_from_slice(b"\r\n");
        }
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(2 << 20, b'x');
        let head = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(MAX_RESPONSE_HEAD_BYTES)).into_bytes();
        let (port, _asked) = serve(vec![sized(MAX_RESPONSE_BYTES), sized(MAX_RESPONSE_BYTES + 1), chunked, endless, head]);
        let mut world = world(&[&format!("127.0.0.1:{port}")]);
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(parts(ask(&mut world, &url)).1.len() as u64, MAX_RESPONSE_BYTES);
        for _ in 0..3 {
            let expected = "OracleResultTooLargeError: The response takes more than 1048576 bytes";
            assert_eq!(refusal(ask(&mut world, &url)), expected);
        }
        assert_eq!(refusal(ask(&mut world, &url)), "TypeError: fetch failed: the head of the response is too large");
    }

    #[test]
    fn what_breaks_has_words_of_no_system() {
        let (port, _asked) = serve(vec![
            b"220 mail.example ESMTP\r\n".to_vec(),
            Vec::new(),
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec(),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        ]);
        let mut near = world(&[&format!("127.0.0.1:{port}")]);
        let ended = "TypeError: fetch failed: the connection ended before the response did";
        let no_http = "TypeError: fetch failed: the answer is not HTTP";
        for expected in [no_http, ended, ended, no_http] {
            assert_eq!(refusal(ask(&mut near, &format!("http://127.0.0.1:{port}/"))), expected);
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answer = ask(&mut world(&[&free.to_string()]), &format!("http://{free}/"));
        assert_eq!(refusal(answer), "TypeError: fetch failed: the connection was refused");
        let answer = ask(&mut world(&["nobody.invalid"]), "http://nobody.invalid/");
        assert_eq!(refusal(answer), "TypeError: fetch failed: the host cannot be reached");
        // TLS, where nobody speaks it.
        let plain = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = plain.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = plain.accept().unwrap();
            let _ = stream.read_exact(&mut [0; 5]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            // It reads on, lest its answer be lost by closing with bytes unread.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let answer = ask(&mut world(&[&at.to_string()]), &format!("https://{at}/"));
        assert_eq!(refusal(answer), "TypeError: fetch failed: the TLS handshake failed");
    }

    #[test]
    fn a_silent_or_slow_host_ends_with_the_deadline() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let slow = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = [silent.local_addr().unwrap(), slow.local_addr().unwrap()];
        std::thread::spawn(move || {
            let (mut stream, _) = slow.accept().unwrap();
            let mut drip = |bytes: &[u8]| stream.write_all(bytes).is_ok();
            let mut open = drip(b"HTTP/1.1 200 OK\r\n\r\n");
            while open {
                open = drip(b"x");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        for (scheme, at) in [("http", at[0]), ("https", at[0]), ("http", at[1])] {
            let mut world = LiveWorld::new(allow(&[&at.to_string()]), Duration::from_millis(200), |_, _| {});
            assert_eq!(world.over(), None);
            let expected = "OracleTimeoutError: The oracle took longer than 200 milliseconds";
            assert_eq!(refusal(ask(&mut world, &format!("{scheme}://{at}/"))), expected);
            assert_eq!(world.over().map(|(name, message)| format!("{name}: {message}")), Some(expected.into()));
            assert_eq!(refusal(ask(&mut world, "http://elsewhere.invalid/")), expected);
        }
    }

    #[test]
    fn waiting_ends_with_the_deadline() {
        let started = Instant::now();
        let mut world = LiveWorld::new(allow(&[]), Duration::from_millis(100), |_, _| {});
        world.wait(f64::NAN);
        world.wait(-1.0);
        assert_eq!(world.over(), None);
        world.wait(10.0);
        assert!(started.elapsed() >= Duration::from_millis(10));
        world.wait(f64::INFINITY);
        world.wait(1e300);
        let over = Some(("OracleTimeoutError".to_owned(), "The oracle took longer than 100 milliseconds".to_owned()));
        assert_eq!(world.over(), over);
        assert!(started.elapsed() < PATIENCE);
        let late = |timeout| LiveWorld::new(allow(&[]), timeout, |_, _| {}).late().1;
        assert_eq!(late(Duration::from_secs(10)), "The oracle took longer than 10 seconds");
        assert_eq!(late(Duration::from_secs(1)), "The oracle took longer than 1 second");
    }

    #[test]
    fn the_clock_chance_and_the_console_are_real() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        let mut world = LiveWorld::new(allow(&[]), PATIENCE, move |level, line| {
            heard.lock().unwrap().push((level, line.to_owned()));
        });
        let before = world.now_us();
        world.wait(2.0);
        assert!(before > 1.7e15 && world.now_us() >= before + 2_000.0);
        assert_ne!(world.seed(), world.seed());
        world.console(Level::Warn, "hm");
        assert_eq!(*lines.lock().unwrap(), [(Level::Warn, "hm".to_owned())]);
    }

    #[test]
    fn https_believes_only_certificates_with_a_root() {
        use rustls::pki_types::PrivatePkcs8KeyDer;
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(3).flatten() {
                let tls = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut stream: rustls::StreamOwned<_, TcpStream> = rustls::StreamOwned::new(tls, stream);
                if request_of(&mut stream).is_some() {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
                }
            }
        });
        let mut world = world(&[&format!("127.0.0.1:{port}"), &format!("localhost:{port}")]);
        let url = format!("https://127.0.0.1:{port}/");
        let expected = "TypeError: fetch failed: the host's certificate is not valid";
        assert_eq!(refusal(ask(&mut world, &url)), expected);
        world.roots = RootCerts::new_with_certs(&[ureq::tls::Certificate::from_der(cert.der()).to_owned()]);
        assert_eq!(parts(ask(&mut world, &url)).1, b"hi");
        // A certificate for another name.
        assert_eq!(refusal(ask(&mut world, &format!("https://localhost:{port}/"))), expected);
    }

    /// A request without a body, if one comes.
    fn request_of(stream: &mut impl Read) -> Option<String> {
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            text.push(char::from(byte[0]));
        }
        Some(text)
    }
}
