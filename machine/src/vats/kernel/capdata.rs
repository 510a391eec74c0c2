//! What messages and resolutions carry: a body of text, and the things that it speaks of.

use super::refs::KRef;
use serde::{Deserialize, Serialize};

/// The most characters of a body, as JavaScript counts them.
pub const BODY_CHARS: usize = 10_000_000;
/// The most slots.
pub const SLOTS: usize = 10_000;
/// The most values that a body may hold, of whatever size: each costs who reads it thousands of instructions.
pub const VALUES: usize = 50_000;
/// The most digits of a BigInt, which cost by their square.
const DIGITS: usize = 5_000;

/// Whether a body is too long.
pub fn is_too_long(body: &str) -> bool {
    body.len() > BODY_CHARS && body.encode_utf16().count() > BODY_CHARS
}

/// Whether a vat can be given this JSON without danger to it.
pub fn is_digestible(json: &str) -> bool {
    if json.len() <= DIGITS {
        return true;
    }
    let is_smallcaps = json.starts_with('#');
    let (mut values, mut at) = (0, 0);
    let bytes = json.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b',' | b'[' | b'{' => values += 1,
            b'"' => {
                let begin = at;
                while let Some(&byte) = bytes.get(at)
                    && byte != b'"'
                {
                    at += if byte == b'\\' { 2 } else { 1 };
                }
                if is_smallcaps && matches!(bytes.get(begin), Some(b'+' | b'-')) && at - begin > DIGITS {
                    return false;
                }
                at += 1;
            }
            _ => {}
        }
    }
    values <= VALUES
}

/// A body and its slots, as the kernel knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CapData {
    /// JSON with `@qclass` objects, or smallcaps, which begins with `#`.
    pub body: String,
    /// What indexes in the body stand for.
    pub slots: Vec<KRef>,
}

/// How a body is written, and with it the message that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// `@qclass`; a message is a method and its arguments.
    #[serde(rename = "2019")]
    Old,
    /// Smallcaps; a message is an array of both.
    #[serde(rename = "today")]
    Today,
}

impl CapData {
    /// An error, in the words of a dialect.
    pub fn error(dialect: Dialect, name: &str, message: &str) -> CapData {
        let body = match dialect {
            Dialect::Old => serde_json::json!({ "@qclass": "error", "name": name, "message": message }).to_string(),
            Dialect::Today => {
                // A string that begins with one of these marks is escaped.
                let escape = if message.starts_with(|c: char| ('!'..='-').contains(&c)) { "!" } else { "" };
                format!("#{}", serde_json::json!({ "#error": format!("{escape}{message}"), "name": name }))
            }
        };
        CapData { body, slots: Vec::new() }
    }

    /// The dialect of the body.
    pub fn dialect(&self) -> Dialect {
        if self.body.starts_with('#') { Dialect::Today } else { Dialect::Old }
    }

    /// The one object, promise or device that this is, if it is nothing else.
    pub fn sole_slot(&self) -> Option<KRef> {
        let &[slot] = self.slots.as_slice() else { return None };
        let sole = match self.dialect() {
            Dialect::Today => {
                let name = self.body.strip_prefix("#\"").and_then(|rest| rest.strip_suffix('"'));
                name.is_some_and(|name| {
                    let rest = name.strip_prefix("$0").or_else(|| name.strip_prefix("&0"));
                    rest.is_some_and(|rest| (rest.is_empty() || rest.starts_with('.')) && !rest.contains('"'))
                })
            }
            Dialect::Old => {
                self.body.starts_with("{\"@qclass\":\"slot\"")
                    && serde_json::from_str::<serde_json::Value>(&self.body).is_ok_and(|body| {
                        let fields = body.as_object().expect("it begins with a brace");
                        fields.get("index") == Some(&0.into())
                            && fields.keys().all(|key| ["@qclass", "index", "iface"].contains(&&**key))
                    })
            }
        };
        sole.then_some(slot)
    }

    /// What a person reads of a rejection: name and message of an error, or the body.
    pub fn failure(&self) -> (String, String) {
        let (json, error) = match self.body.strip_prefix('#') {
            Some(json) => (json, "#error"),
            None => (self.body.as_str(), "message"),
        };
        let Ok(value) = serde_json::from_str::<serde_json::Value>(json) else { return ("Error".into(), self.body.clone()) };
        let text = |value: &serde_json::Value| {
            let text = value.as_str()?;
            let escaped = self.body.starts_with('#') && text.starts_with('!');
            Some(if escaped { text[1..].to_owned() } else { text.to_owned() })
        };
        match (value.get(error).and_then(text), value.get("name").and_then(|name| name.as_str())) {
            (Some(message), Some(name)) => (name.to_owned(), message),
            _ => ("Error".into(), text(&value).unwrap_or_else(|| json.to_owned())),
        }
    }
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The method, if it stands beside the arguments. In today's form it is the first of two elements of the body.
    pub method: Option<String>,
    /// The arguments, or method and arguments.
    pub args: CapData,
    /// The promise for what comes of it.
    pub result: Option<u64>,
}

impl Message {
    /// The method's name, for an error or a trace.
    pub fn method_name(&self) -> String {
        if let Some(method) = &self.method {
            return method.clone();
        }
        let body = self.args.body.strip_prefix('#').unwrap_or(&self.args.body);
        // Only the first element is read: the arguments may be long, and deeper than is read here.
        let elements = body.trim_start().strip_prefix('[').unwrap_or_default();
        match serde_json::Deserializer::from_str(elements).into_iter::<serde_json::Value>().next() {
            Some(Ok(serde_json::Value::String(name))) if name == "#undefined" => "undefined".into(),
            Some(Ok(serde_json::Value::String(name))) => name.strip_prefix('!').unwrap_or(&name).to_owned(),
            Some(Ok(serde_json::Value::Object(tagged))) if tagged.contains_key("@qclass") => "undefined".into(),
            Some(Ok(other)) => other.to_string(),
            _ => "?".into(),
        }
    }

    /// The dialect that the sender speaks.
    pub fn dialect(&self) -> Dialect {
        if self.method.is_some() { Dialect::Old } else { Dialect::Today }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capdata(body: &str, slots: &[u64]) -> CapData {
        CapData { body: body.into(), slots: slots.iter().map(|&n| KRef::Object(n)).collect() }
    }

    #[test]
    fn a_sole_slot_is_nothing_else() {
        for body in [r#"{"@qclass":"slot","index":0}"#, r##"#"$0""##, r##"#"$0.Alleged: root""##, r##"#"&0""##] {
            assert_eq!(capdata(body, &[7]).sole_slot(), Some(KRef::Object(7)), "{body}");
        }
        for body in [r#"[{"@qclass":"slot","index":0}]"#, r##"#["$0"]"##, r##"#"!$0""##, r#""$0""#, r##"#"$01""##, "", "#", "#\""]
        {
            assert_eq!(capdata(body, &[7]).sole_slot(), None, "{body}");
        }
        assert_eq!(capdata(r##"#"$0""##, &[7, 8]).sole_slot(), None);
    }

    #[test]
    fn the_name_of_a_method() {
        let name = |body: &str| Message { method: None, args: capdata(body, &[]), result: None }.method_name();
        assert_eq!(name("#[\"m\",[1]]"), "m");
        assert_eq!(name("#[\"!#m\",[]]"), "#m");
        assert_eq!(name("#[\"#undefined\",[]]"), "undefined");
        assert_eq!(name("[{\"@qclass\":\"undefined\"},[]]"), "undefined");
        assert_eq!(name(&format!("#[\"deep\",{}1{}]", "[".repeat(1000), "]".repeat(1000))), "deep");
        for none in ["", "#", "#[", "#{}", "nonsense", &"[".repeat(1000)] {
            assert_eq!(name(none), "?", "{none}");
        }
    }

    #[test]
    fn what_can_be_digested() {
        let many = |text: &str, times: usize| format!("#[{}0]", text.repeat(times));
        for body in [
            many("1,", VALUES - 1),
            many("\"a,[,{\",", 40_000),
            many("\"\\\"[,,\",", 30_000),
            format!("#\"+{}\"", "9".repeat(4_000)),
        ] {
            assert!(is_digestible(&body), "{} bytes", body.len());
        }
        for body in [
            many("1,", VALUES),
            many("[],", 30_000),
            many("{\"a\":1},", 30_000),
            format!("#[\"-{}\"]", "9".repeat(6_000)),
            many("\"\\\\\",", VALUES),
        ] {
            assert!(!is_digestible(&body), "{} bytes", body.len());
        }
        // Bodies that are none are somebody else's concern.
        for body in ["\"".repeat(10_000), format!("\"{}\\", "x".repeat(10_000))] {
            is_digestible(&body);
        }
    }

    #[test]
    fn errors_are_read_as_they_are_written() {
        for dialect in [Dialect::Old, Dialect::Today] {
            for message in ["vat terminated", "#!", "", "\"quoted\""] {
                let error = CapData::error(dialect, "TypeError", message);
                assert_eq!(error.failure(), ("TypeError".to_owned(), message.to_owned()));
                assert_eq!(error.dialect(), dialect);
            }
        }
        assert_eq!(capdata("#\"just a string\"", &[]).failure(), ("Error".into(), "just a string".into()));
        assert_eq!(capdata("nonsense", &[]).failure(), ("Error".into(), "nonsense".into()));
    }
}
