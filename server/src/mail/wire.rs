//! The lines: what they say, and who has written them. No I/O.

use crate::limits;
use aws_lc_rs::{hmac, rand};
use machine::vats::devices::{MAX_SAFE_INTEGER, mailbox};
use serde::{Deserialize, Serialize};

/// The version of the protocol.
const VERSION: u32 = 1;

/// Bytes of the first line of each side.
pub const MAX_HELLO_BYTES: usize = 4 << 10;

/// Bytes of a secret, at least.
const MIN_SECRET_BYTES: usize = 16;

const DIGEST_HEX: usize = 64;

/// Why a connection has ended, or was not made.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the connection was closed")]
    Closed,
    #[error("nothing has come for too long")]
    Silent,
    #[error("it does not read what is sent to it")]
    Slow,
    #[error("what comes is not the protocol: {0}")]
    Garbage(String),
    /// By the other side.
    #[error("refused: {0}")]
    Refused(String),
    /// By us.
    #[error("{0}")]
    Unwelcome(String),
    #[error("there is another connection already")]
    Twice,
}

/// What all kernels know that talk to each other.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// White space around it does not count.
    pub fn new(text: &str) -> Result<Secret, String> {
        let text = text.trim();
        if text.len() < MIN_SECRET_BYTES {
            return Err(format!("a secret has at least {MIN_SECRET_BYTES} bytes"));
        }
        Ok(Secret(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }
}

/// Who speaks to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    #[serde(rename = "glassbox-mail")]
    version: u32,
    pub from: String,
    pub to: String,
    /// Which kernel it is, whatever it is called: the id of its backend.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

/// What the second side says instead of its hello.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    refused: String,
}

fn garbage(error: impl std::fmt::Display) -> Problem {
    Problem::Garbage(error.to_string())
}

fn line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("strings and numbers can be written");
    line.push('\n');
    line
}

impl Hello {
    pub fn new(from: &str, to: &str, id: &str, with_nonce: bool) -> Hello {
        let nonce = || {
            let mut nonce = [0; 32];
            rand::fill(&mut nonce).expect("the system has randomness");
            ledger::hex::encode(&nonce)
        };
        Hello { version: VERSION, from: from.into(), to: to.into(), id: id.into(), nonce: with_nonce.then(nonce) }
    }

    /// With its newline.
    pub fn line(&self) -> String {
        line(self)
    }

    /// Reads one, or a refusal.
    pub fn read(line: &[u8]) -> Result<Hello, Problem> {
        expect_welcome(line)?;
        let hello: Hello = serde_json::from_slice(line).map_err(garbage)?;
        if hello.version != VERSION {
            return Err(Problem::Unwelcome(format!("version {} of the protocol", hello.version)));
        }
        if ledger::hex::decode::<32>(&hello.id).is_none() {
            return Err(garbage("the id"));
        }
        Ok(hello)
    }

    /// Whether both sides have a secret, or none has.
    pub fn expect_secret(&self, secret: bool) -> Result<(), Problem> {
        match (&self.nonce, secret) {
            (None, false) => Ok(()),
            (Some(nonce), true) if ledger::hex::decode::<32>(nonce).is_some() => Ok(()),
            (Some(_), true) => Err(garbage("the nonce")),
            (Some(_), false) => Err(Problem::Unwelcome(format!("'{}' wants a secret, which is not set here", self.from))),
            (None, true) => Err(Problem::Unwelcome(format!("'{}' does not know the secret", self.from))),
        }
    }
}

/// Whether a line is no refusal.
fn expect_welcome(line: &[u8]) -> Result<(), Problem> {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(line) else { return Ok(()) };
    Err(Problem::Refused(refusal.refused.chars().filter(|c| !c.is_control()).take(300).collect()))
}

/// A refusal, with its newline.
pub fn refusal(problem: &Problem) -> String {
    line(&Refusal { refused: problem.to_string() })
}

/// Marks the lines of one direction, or checks their marks.
pub struct Seal {
    key: Option<hmac::Key>,
    direction: u8,
    lines: u64,
}

/// For the lines of the one who has connected, and for those of the other. The hello lines are as they were on the wire.
pub fn seals(secret: Option<&Secret>, first: &str, second: &str) -> (Seal, Seal) {
    let key = secret.map(|Secret(secret)| {
        let key = hmac::sign(secret, format!("glassbox-mail {VERSION}\n{first}{second}").as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
    });
    (Seal { key: key.clone(), direction: b'>', lines: 0 }, Seal { key, direction: b'<', lines: 0 })
}

impl Seal {
    fn context(&mut self) -> hmac::Context {
        let mut context = hmac::Context::with_key(self.key.as_ref().expect("asked before"));
        context.update(&[self.direction]);
        context.update(&self.lines.to_be_bytes());
        self.lines += 1;
        context
    }

    /// A line as it goes to the wire. It has its newline.
    pub fn seal(&mut self, line: String) -> String {
        if self.key.is_none() {
            return line;
        }
        let mut context = self.context();
        context.update(line.trim_end_matches('\n').as_bytes());
        format!("{} {line}", ledger::hex::encode(context.sign().as_ref()))
    }

    /// A line from the wire, without its newline: what it says.
    pub fn open<'a>(&mut self, line: &'a [u8]) -> Result<&'a [u8], Problem> {
        if self.key.is_none() {
            return Ok(line);
        }
        let forged = || Problem::Unwelcome("the other side does not know the secret".into());
        let (mark, rest) = line.split_at_checked(DIGEST_HEX).ok_or_else(forged)?;
        let text = rest.strip_prefix(b" ").ok_or_else(forged)?;
        let mark = std::str::from_utf8(mark).ok().and_then(ledger::hex::decode::<32>).ok_or_else(forged)?;
        let mut context = self.context();
        context.update(text);
        let ours = context.sign();
        // In a time that does not depend on where they differ.
        aws_lc_rs::constant_time::verify_slices_are_equal(ours.as_ref(), &mark).map_err(|_| forged())?;
        Ok(text)
    }
}

/// Messages, and an acknowledgment.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    pub messages: Vec<(u64, String)>,
    pub ack: u64,
}

impl Frame {
    /// The first one; there may be a refusal in its place.
    pub fn first(line: &[u8]) -> Result<Frame, Problem> {
        expect_welcome(line)?;
        Frame::read(line)
    }

    pub fn read(line: &[u8]) -> Result<Frame, Problem> {
        let frame: Frame = serde_json::from_slice(line).map_err(garbage)?;
        if frame.messages.len() > limits::MAX_MAIL_MESSAGES {
            return Err(garbage("too many messages in a frame"));
        }
        let last = frame.messages.iter().try_fold(0, |last, (number, _)| (*number > last).then_some(*number));
        if last.is_none_or(|last| last.max(frame.ack) > MAX_SAFE_INTEGER) {
            return Err(garbage("numbers that do not rise, or are too large"));
        }
        Ok(frame)
    }
}

/// How far a connection has carried what there is with a peer.
#[derive(Default)]
pub struct Carried {
    last: u64,
    ack: u64,
}

impl Carried {
    /// The next frame, with its newline, if there is something to say.
    pub fn next(&mut self, peer: &mailbox::Peer) -> Option<String> {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        for (number, text) in peer.outbox.range(self.last + 1..) {
            bytes += text.len();
            messages.push((*number, text.as_str()));
            if messages.len() == limits::MAX_MAIL_MESSAGES || bytes >= FILL_BYTES {
                break;
            }
        }
        if messages.is_empty() && peer.inbound_ack <= self.ack {
            return None;
        }
        self.last = messages.last().map_or(self.last, |(number, _)| *number);
        self.ack = peer.inbound_ack;
        Some(frame(&messages, self.ack))
    }

    /// A frame that says nothing new.
    pub fn empty(&self) -> String {
        frame(&[], self.ack)
    }
}

/// Escapes make six bytes of one at most.
const FILL_BYTES: usize = limits::MAIL_FILL_BYTES / 6;

fn frame(messages: &[(u64, &str)], ack: u64) -> String {
    #[derive(Serialize)]
    struct Written<'a> {
        messages: &'a [(u64, &'a str)],
        ack: u64,
    }
    line(&Written { messages, ack })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_carries_each_message_once() {
        let mut peer = mailbox::Peer::default();
        let mut carried = Carried::default();
        assert_eq!(carried.next(&peer), None);
        assert_eq!(carried.empty(), "{\"messages\":[],\"ack\":0}\n");
        peer.outbox.extend([(3, "c".into()), (4, "\"d\"".into())]);
        assert_eq!(carried.next(&peer).as_deref(), Some("{\"messages\":[[3,\"c\"],[4,\"\\\"d\\\"\"]],\"ack\":0}\n"));
        assert_eq!(carried.next(&peer), None);
        peer.outbox.insert(5, "e".into());
        peer.inbound_ack = 7;
        assert_eq!(carried.next(&peer).as_deref(), Some("{\"messages\":[[5,\"e\"]],\"ack\":7}\n"));
        peer.inbound_ack = 8;
        assert_eq!(carried.next(&peer).as_deref(), Some("{\"messages\":[],\"ack\":8}\n"));
        let all = "{\"messages\":[[3,\"c\"],[4,\"\\\"d\\\"\"],[5,\"e\"]],\"ack\":8}\n";
        assert_eq!(Carried::default().next(&peer).as_deref(), Some(all), "a new connection carries all of it");
    }

    #[test]
    fn what_is_sent_can_be_read() {
        let longest = "\u{1}".repeat((mailbox::MAX_MESSAGE_BYTES - 2) / 6);
        let mut peer = mailbox::Peer::default();
        peer.outbox.extend((1..=3_000).map(|number| (number, "x".repeat(100))));
        peer.outbox.extend((3_001..=3_003).map(|number| (number, longest.clone())));
        let (mut carried, mut seen) = (Carried::default(), 0);
        while let Some(line) = carried.next(&peer) {
            assert!(line.len() + DIGEST_HEX < limits::MAX_MAIL_FRAME_BYTES, "{} bytes", line.len());
            let frame = Frame::read(line.trim_end().as_bytes()).unwrap();
            for (number, text) in frame.messages {
                assert_eq!((number, Some(&text)), (seen + 1, peer.outbox.get(&number)));
                seen = number;
            }
        }
        assert_eq!(seen, 3_003);
    }

    #[test]
    fn what_is_no_frame() {
        let too_many =
            format!("{{\"messages\":[{}],\"ack\":0}}", (1..=1_001).map(|n| format!("[{n},\"\"]")).collect::<Vec<_>>().join(","));
        for line in [
            "",
            "{}",
            "null",
            "{\"messages\":[]}",
            "{\"messages\":[],\"ack\":-1}",
            "{\"messages\":[],\"ack\":9007199254740992}",
            "{\"messages\":[],\"ack\":0,\"more\":1}",
            "{\"messages\":[[0,\"\"]],\"ack\":0}",
            "{\"messages\":[[2,\"\"],[2,\"\"]],\"ack\":0}",
            "{\"messages\":[[2,\"\"],[1,\"\"]],\"ack\":0}",
            "{\"messages\":[[1.5,\"\"]],\"ack\":0}",
            "{\"messages\":[[9007199254740992,\"\"]],\"ack\":0}",
            "{\"messages\":[[1,2]],\"ack\":0}",
            "{\"messages\":[],\"ack\":0} {}",
            &too_many,
        ] {
            assert!(matches!(Frame::read(line.as_bytes()), Err(Problem::Garbage(_))), "{line}");
        }
    }

    #[test]
    fn who_has_no_secret_or_another_one() {
        let secret = Secret::new(" sixteen bytes are enough \n").unwrap();
        assert!(Secret::new("too short").is_err());
        let id = "00".repeat(32);
        let (first, second) = (Hello::new("a", "b", &id, true).line(), Hello::new("b", "a", &id, true).line());
        let seals = |secret: &Secret| seals(Some(secret), &first, &second);
        let (mut ours, mut theirs) = (seals(&secret).0, seals(&secret).0);
        let lines: Vec<String> = (0..3).map(|n| ours.seal(format!("line {n}\n"))).collect();
        for (n, line) in lines.iter().enumerate() {
            assert_eq!(theirs.open(line.trim_end().as_bytes()).unwrap(), format!("line {n}").as_bytes());
        }
        let other = Secret::new("another secret, as long").unwrap();
        let mut forgeries =
            vec![lines[1].clone(), lines[0].replace("line 0", "line 1"), "line 0".into(), String::new(), "é".repeat(40)];
        forgeries.push(seals(&other).0.seal("line 0\n".into()));
        forgeries.push(seals(&secret).1.seal("line 0\n".into()));
        for forgery in forgeries {
            let opened = seals(&secret).0.open(forgery.trim_end().as_bytes()).map(<[u8]>::to_vec);
            assert!(matches!(opened, Err(Problem::Unwelcome(_))), "{forgery}: {opened:?}");
        }
        let hello = |line: &str| Hello::read(line.trim_end().as_bytes()).unwrap();
        assert!(hello(&first).expect_secret(true).is_ok() && hello(&first).expect_secret(false).is_err());
        let plain = hello(&Hello::new("a", "b", &id, false).line());
        assert!(plain.expect_secret(true).is_err() && plain.expect_secret(false).is_ok());
    }

    #[test]
    fn a_refusal_is_read_as_one() {
        let line = refusal(&Problem::Unwelcome("no".into()));
        assert_eq!(line, "{\"refused\":\"no\"}\n");
        assert!(matches!(Hello::read(line.trim_end().as_bytes()), Err(Problem::Refused(why)) if why == "no"));
        assert!(matches!(Frame::first(line.trim_end().as_bytes()), Err(Problem::Refused(why)) if why == "no"));
        assert!(matches!(Frame::first(br#"{"messages":[],"ack":2}"#), Ok(Frame { ack: 2, .. })));
        assert!(matches!(Hello::read(b"GET / HTTP/1.1"), Err(Problem::Garbage(_))));
        let hello = |version: u32, id: &str| {
            Hello::read(format!(r#"{{"glassbox-mail":{version},"from":"a","to":"b","id":"{id}"}}"#).as_bytes())
        };
        assert!(matches!(hello(2, &"ab".repeat(32)), Err(Problem::Unwelcome(_))));
        assert!(hello(1, &"ab".repeat(32)).is_ok());
        for id in ["", "ab", &"AB".repeat(32), &"ab".repeat(33)] {
            assert!(matches!(hello(1, id), Err(Problem::Garbage(_))), "{id}");
        }
    }
}
