//! Values in capdata, for devices: both dialects are read, and each is written for those who use it.
//!
//! | value | 2019 | smallcaps |
//! |---|---|---|
//! | undefined, NaN | `{"@qclass":"undefined"}`, `{"@qclass":"NaN"}` | `"#undefined"`, `"#NaN"` |
//! | bigint | `{"@qclass":"bigint","digits":"-3"}` | `"-3"`, `"+3"` |
//! | a reference | `{"@qclass":"slot","index":0}` | `"$0.Alleged: x"`, `"$0"`, `"&0"` |
//! | the same again | `{"@qclass":"ibid","index":1}` | |
//! | string | `"a"` | `"a"`; `"!-a"` if it begins with one of `!` to `-` |
//!
//! JSON is read here by hand: `serde_json` rounds some numbers, and devices must not.

use super::{CapData, MAX_SAFE_INTEGER};
use serde::{Deserialize, Serialize};

/// Deeper than that, nothing is read.
const MAX_DEPTH: u32 = 100;

/// What the ibids of one body may add up to: values.
const MAX_COPIED: usize = 100_000;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `@qclass`, the form of 2019.
    Qclass,
    /// Today's.
    Smallcaps,
}

/// What a body says.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// undefined
    Undefined,
    /// null
    Null,
    /// true, false
    Bool(bool),
    /// A Number.
    Number(f64),
    /// A BigInt, in digits, with `-` if it is negative.
    BigInt(String),
    /// A string.
    String(String),
    /// A symbol, by its name in smallcaps.
    Symbol(String),
    /// An array.
    Array(Vec<Value>),
    /// A record, in the order of the body.
    Record(Vec<(String, Value)>),
    /// An object, a promise or a device node.
    Slot {
        /// The reference.
        slot: String,
        /// What it is alleged to be.
        iface: Option<String>,
    },
    /// An error.
    Error {
        /// Its class.
        name: String,
        /// Its message.
        message: String,
    },
    /// Data with a tag.
    Tagged {
        /// The tag.
        tag: String,
        /// The data.
        payload: Box<Value>,
    },
}

impl Value {
    /// A record.
    pub fn record<const N: usize>(fields: [(&str, Value); N]) -> Self {
        Self::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A BigInt, or what stands for it in 2019: a Number.
    pub fn count(number: u64, dialect: Dialect) -> Self {
        match dialect {
            Dialect::Qclass => Self::Number(number as f64),
            Dialect::Smallcaps => Self::BigInt(number.to_string()),
        }
    }

    /// The natural number that it is, as a Number or a BigInt.
    pub fn as_nat(&self) -> Option<u64> {
        match self {
            Self::Number(n) if *n >= 0.0 && n.fract() == 0.0 && *n <= MAX_SAFE_INTEGER as f64 => Some(*n as u64),
            Self::BigInt(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// A record's field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Record(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// How many values it consists of.
    fn size(&self) -> usize {
        1 + match self {
            Self::Array(items) => items.iter().map(Self::size).sum(),
            Self::Record(fields) => fields.iter().map(|(_, value)| value.size()).sum(),
            Self::Tagged { payload, .. } => payload.size(),
            _ => 0,
        }
    }

    /// What it is, for a message.
    pub fn describe(&self) -> String {
        match self {
            Self::Undefined => "undefined".into(),
            Self::Null => "null".into(),
            Self::Bool(b) => b.to_string(),
            Self::Number(n) => n.to_string(),
            Self::BigInt(digits) => digits.clone(),
            Self::String(_) => "a string".into(),
            Self::Symbol(_) => "a symbol".into(),
            Self::Array(_) => "an array".into(),
            Self::Record(_) => "a record".into(),
            Self::Slot { slot, .. } if slot.starts_with('p') => "a promise".into(),
            Self::Slot { slot, .. } if slot.starts_with('d') => "a device node".into(),
            Self::Slot { .. } => "an object".into(),
            Self::Error { .. } => "an error".into(),
            Self::Tagged { .. } => "a tagged value".into(),
        }
    }

    /// The JSON that `JSON.stringify` makes of plain data, `None` for undefined. What JSON cannot say is an error.
    pub fn to_json(&self) -> Result<Option<String>, String> {
        Ok(Some(match self {
            Self::Undefined => return Ok(None),
            Self::Null => "null".into(),
            Self::Bool(b) => b.to_string(),
            Self::Number(n) if n.is_finite() => number_text(*n),
            Self::Number(_) => "null".into(),
            Self::String(text) => quoted(text),
            Self::Array(items) => {
                let items = items.iter().map(|item| Ok(item.to_json()?.unwrap_or_else(|| "null".into())));
                format!("[{}]", items.collect::<Result<Vec<String>, String>>()?.join(","))
            }
            Self::Record(fields) => {
                let mut parts = Vec::new();
                for (name, value) in fields {
                    if let Some(json) = value.to_json()? {
                        parts.push(format!("{}:{json}", quoted(name)));
                    }
                }
                format!("{{{}}}", parts.join(","))
            }
            other => return Err(format!("JSON cannot say {}", other.describe())),
        }))
    }
}

/// Reads JSON as plain data.
pub fn from_json(json: &str) -> Result<Value, String> {
    let parsed = parse(json)?;
    Ok(plain(&parsed))
}

fn plain(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(*n),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Json::Object(fields) => Value::Record(fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect()),
    }
}

/// Reads a body in the dialect it is written in.
pub fn decode(data: &CapData) -> Result<(Value, Dialect), String> {
    match data.body.strip_prefix('#') {
        Some(body) => Ok((smallcaps(&parse(body)?, &data.slots)?, Dialect::Smallcaps)),
        None => {
            let ibids = data.body.contains("\"ibid\"");
            let mut reader = Qclass { slots: &data.slots, seen: Vec::new(), ibids, copied: 0 };
            Ok((reader.read(&parse(&data.body)?)?, Dialect::Qclass))
        }
    }
}

impl Dialect {
    /// Writes a value.
    pub fn encode(self, value: &Value) -> CapData {
        let mut writer = Writer { dialect: self, body: String::new(), slots: Vec::new() };
        if self == Self::Smallcaps {
            writer.body.push('#');
        }
        writer.write(value);
        CapData { body: writer.body, slots: writer.slots }
    }
}

// ── reading ──

fn slot_at(slots: &[String], index: usize) -> Result<String, String> {
    slots.get(index).cloned().ok_or_else(|| format!("there is no slot {index}"))
}

fn is_digits(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits == "0" || (!digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn smallcaps(json: &Json, slots: &[String]) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(*n),
        Json::Array(items) => Value::Array(items.iter().map(|item| smallcaps(item, slots)).collect::<Result<_, _>>()?),
        Json::String(text) => {
            let Some(first @ '!'..='-') = text.chars().next() else { return Ok(Value::String(text.clone())) };
            let rest = &text[1..];
            match first {
                '!' => Value::String(rest.into()),
                '%' => Value::Symbol(rest.into()),
                '#' => match rest {
                    "undefined" => Value::Undefined,
                    "NaN" => Value::Number(f64::NAN),
                    "Infinity" => Value::Number(f64::INFINITY),
                    "-Infinity" => Value::Number(f64::NEG_INFINITY),
                    _ => return Err(format!("unknown constant {text:?}")),
                },
                '+' if is_digits(rest) && !rest.starts_with('-') => Value::BigInt(rest.into()),
                '-' if is_digits(text) && rest != "0" => Value::BigInt(text.clone()),
                '$' | '&' => {
                    let (index, iface) = match rest.split_once('.') {
                        Some((index, iface)) => (index, Some(iface.to_owned())),
                        None => (rest, None),
                    };
                    let index = index.parse().map_err(|_| format!("{text:?} refers to nothing"))?;
                    Value::Slot { slot: slot_at(slots, index)?, iface }
                }
                _ => return Err(format!("Special char {:?} reserved for future use", first.to_string())),
            }
        }
        Json::Object(fields) => match fields.iter().find(|(name, _)| name.starts_with('#')) {
            None => {
                let read = fields.iter().map(|(name, value)| {
                    let name = name.strip_prefix('!').unwrap_or(name);
                    Ok((name.to_owned(), smallcaps(value, slots)?))
                });
                Value::Record(read.collect::<Result<_, String>>()?)
            }
            Some((name, inner)) if name == "#error" => {
                let text = |value: &Json| match smallcaps(value, slots) {
                    Ok(Value::String(text)) => text,
                    _ => String::new(),
                };
                let class =
                    fields.iter().find(|(name, _)| name == "name").map_or_else(|| "Error".into(), |(_, value)| text(value));
                Value::Error { name: class, message: text(inner) }
            }
            Some((name, inner)) if name == "#tag" => {
                let payload = fields.iter().find(|(name, _)| name == "payload").map(|(_, value)| smallcaps(value, slots));
                match (smallcaps(inner, slots)?, payload) {
                    (Value::String(tag), Some(payload)) => Value::Tagged { tag, payload: Box::new(payload?) },
                    _ => return Err("malformed tagged value".into()),
                }
            }
            Some(_) => return Err("Unrecognized record type".into()),
        },
    })
}

/// A reader of the form of 2019. `seen` is what an `ibid` counts, if the body has `ibids`; what is not complete yet is `None`.
/// What it copies for them is counted: an ibid of ibids of ibids says much with few characters.
struct Qclass<'a> {
    slots: &'a [String],
    seen: Vec<Option<Value>>,
    ibids: bool,
    copied: usize,
}

impl Qclass<'_> {
    fn read(&mut self, json: &Json) -> Result<Value, String> {
        match json {
            Json::Null => Ok(Value::Null),
            Json::Bool(b) => Ok(Value::Bool(*b)),
            Json::Number(n) => Ok(Value::Number(*n)),
            Json::String(text) => Ok(Value::String(text.clone())),
            Json::Array(items) => {
                self.remembered(|reader| Ok(Value::Array(items.iter().map(|item| reader.read(item)).collect::<Result<_, _>>()?)))
            }
            Json::Object(fields) => match fields.iter().find(|(name, _)| name == "@qclass") {
                Some((_, Json::String(class))) => self.special(class, fields),
                Some(_) => Err("invalid qclass typeof".into()),
                None => self.remembered(|reader| {
                    let read = fields.iter().map(|(name, value)| Ok((name.clone(), reader.read(value)?)));
                    Ok(Value::Record(read.collect::<Result<_, String>>()?))
                }),
            },
        }
    }

    fn remembered(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        let index = self.seen.len();
        self.seen.push(None);
        let value = read(self)?;
        if self.ibids {
            self.seen[index] = Some(self.copy(&value)?);
        }
        Ok(value)
    }

    fn copy(&mut self, value: &Value) -> Result<Value, String> {
        self.copied += value.size();
        if self.copied > MAX_COPIED { Err("the ibids say too much".into()) } else { Ok(value.clone()) }
    }

    fn special(&mut self, class: &str, fields: &[(String, Json)]) -> Result<Value, String> {
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let text = |name: &str| match field(name) {
            Some(Json::String(text)) => Ok(text.clone()),
            _ => Err(format!("malformed {class}")),
        };
        let index = || match field("index") {
            Some(Json::Number(n)) if *n >= 0.0 && n.fract() == 0.0 && *n < 1e9 => Ok(*n as usize),
            _ => Err(format!("malformed {class}")),
        };
        Ok(match class {
            "undefined" => Value::Undefined,
            "-0" => Value::Number(-0.0),
            "NaN" => Value::Number(f64::NAN),
            "Infinity" => Value::Number(f64::INFINITY),
            "-Infinity" => Value::Number(f64::NEG_INFINITY),
            "bigint" => match text("digits")? {
                digits if is_digits(&digits) && digits != "-0" => Value::BigInt(digits),
                _ => return Err("malformed bigint".into()),
            },
            "symbol" | "@@asyncIterator" => Value::Symbol(text("name").or_else(|_| text("key"))?),
            "slot" => {
                let value = Value::Slot { slot: slot_at(self.slots, index()?)?, iface: text("iface").ok() };
                self.seen.push(Some(value.clone()));
                value
            }
            "error" => {
                let value = Value::Error { name: text("name")?, message: text("message")? };
                self.seen.push(Some(value.clone()));
                value
            }
            "ibid" => {
                let index = index()?;
                match self.seen.get(index).cloned() {
                    Some(Some(value)) => self.copy(&value)?,
                    Some(None) => return Err(format!("Ibid cycle at {index}")),
                    None => return Err(format!("ibid out of range: {index}")),
                }
            }
            "tagged" => {
                let payload = field("payload").ok_or("malformed tagged")?;
                let tag = text("tag")?;
                self.remembered(|reader| Ok(Value::Tagged { tag, payload: Box::new(reader.read(payload)?) }))?
            }
            _ => return Err(format!("unrecognized @qclass {class}")),
        })
    }
}

// ── writing ──

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

fn number_text(number: f64) -> String {
    if number == 0.0 { "0".into() } else { number.to_string() }
}

struct Writer {
    dialect: Dialect,
    body: String,
    slots: Vec<String>,
}

impl Writer {
    fn slot(&mut self, slot: &str) -> (usize, bool) {
        match self.slots.iter().position(|known| known == slot) {
            Some(index) => (index, false),
            None => {
                self.slots.push(slot.to_owned());
                (self.slots.len() - 1, true)
            }
        }
    }

    fn list<T>(&mut self, ends: [char; 2], items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.body.push(ends[0]);
        for (n, item) in items.into_iter().enumerate() {
            if n > 0 {
                self.body.push(',');
            }
            write(self, item);
        }
        self.body.push(ends[1]);
    }

    fn escaped(text: &str) -> String {
        if matches!(text.chars().next(), Some('!'..='-')) { quoted(&format!("!{text}")) } else { quoted(text) }
    }

    fn write(&mut self, value: &Value) {
        let modern = self.dialect == Dialect::Smallcaps;
        match value {
            Value::Null => self.body.push_str("null"),
            Value::Bool(b) => self.body.push_str(if *b { "true" } else { "false" }),
            Value::Undefined => self.constant("undefined"),
            Value::Number(n) if n.is_nan() => self.constant("NaN"),
            Value::Number(n) if n.is_infinite() => self.constant(if *n > 0.0 { "Infinity" } else { "-Infinity" }),
            Value::Number(n) if *n == 0.0 && n.is_sign_negative() && !modern => self.constant("-0"),
            Value::Number(n) => self.body.push_str(&number_text(*n)),
            Value::BigInt(digits) if modern => {
                let sign = if digits.starts_with('-') { "" } else { "+" };
                self.body.push_str(&format!("\"{sign}{digits}\""));
            }
            Value::BigInt(digits) => self.body.push_str(&format!(r#"{{"@qclass":"bigint","digits":{}}}"#, quoted(digits))),
            Value::String(text) => self.body.push_str(&if modern { Self::escaped(text) } else { quoted(text) }),
            Value::Symbol(name) if modern => self.body.push_str(&quoted(&format!("%{name}"))),
            Value::Symbol(name) => self.body.push_str(&format!(r#"{{"@qclass":"symbol","key":{0},"name":{0}}}"#, quoted(name))),
            Value::Array(items) => self.list(['[', ']'], items, |writer, item| writer.write(item)),
            Value::Record(fields) => self.record(fields),
            Value::Slot { slot, iface } => {
                let (index, first) = self.slot(slot);
                if !modern {
                    return self.body.push_str(&format!(r#"{{"@qclass":"slot","index":{index}}}"#));
                }
                let mark = if slot.starts_with('p') { '&' } else { '$' };
                match iface {
                    Some(iface) if first => self.body.push_str(&quoted(&format!("{mark}{index}.{iface}"))),
                    _ => self.body.push_str(&format!("\"{mark}{index}\"")),
                }
            }
            Value::Error { name, message } if modern => {
                self.body.push_str(&format!(r##"{{"#error":{},"name":{}}}"##, Self::escaped(message), Self::escaped(name)));
            }
            Value::Error { name, message } => {
                let (name, message) = (quoted(name), quoted(message));
                self.body.push_str(&format!(r#"{{"@qclass":"error","name":{name},"message":{message}}}"#));
            }
            Value::Tagged { tag, payload } => {
                let tag = if modern { Self::escaped(tag) } else { quoted(tag) };
                let head = if modern { r##"{"#tag":"## } else { r#"{"@qclass":"tagged","tag":"# };
                self.body.push_str(&format!(r#"{head}{tag},"payload":"#));
                self.write(payload);
                self.body.push('}');
            }
        }
    }

    fn constant(&mut self, name: &str) {
        match self.dialect {
            Dialect::Qclass => self.body.push_str(&format!(r#"{{"@qclass":"{name}"}}"#)),
            Dialect::Smallcaps => self.body.push_str(&format!("\"#{name}\"")),
        }
    }

    fn record(&mut self, fields: &[(String, Value)]) {
        let mut fields: Vec<&(String, Value)> = fields.iter().collect();
        let modern = self.dialect == Dialect::Smallcaps;
        if modern {
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        }
        self.list(['{', '}'], fields, |writer, (name, value)| {
            writer.body.push_str(&if modern { Self::escaped(name) } else { quoted(name) });
            writer.body.push(':');
            writer.write(value);
        });
    }
}

// ── JSON ──

#[derive(Debug)]
enum Json {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

fn parse(text: &str) -> Result<Json, String> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let value = parser.value()?;
    parser.space();
    if parser.at == text.len() { Ok(value) } else { Err(parser.malformed()) }
}

/// `at` is always at the beginning of a character.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn malformed(&self) -> String {
        format!("malformed JSON at {}", self.at)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self) -> Result<Json, String> {
        self.space();
        match self.rest().as_bytes().first() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.eat("null") => Ok(Json::Null),
            _ if self.eat("true") => Ok(Json::Bool(true)),
            _ if self.eat("false") => Ok(Json::Bool(false)),
            _ => Err(self.malformed()),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, String>) -> Result<Json, String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn array(&mut self) -> Result<Json, String> {
        let mut items = Vec::new();
        self.space();
        if self.eat("]") {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.space();
            if self.eat("]") {
                return Ok(Json::Array(items));
            }
            if !self.eat(",") {
                return Err(self.malformed());
            }
        }
    }

    fn object(&mut self) -> Result<Json, String> {
        let mut fields: Vec<(String, Json)> = Vec::new();
        self.space();
        if self.eat("}") {
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            if !self.eat(":") {
                return Err(self.malformed());
            }
            let value = self.value()?;
            fields.push((name, value));
            self.space();
            if self.eat("}") {
                return Ok(Json::Object(fields));
            }
            if !self.eat(",") {
                return Err(self.malformed());
            }
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let digits = rest[..end].strip_prefix('-').unwrap_or(&rest[..end]);
        let strict = digits.starts_with(|c: char| c.is_ascii_digit())
            && !(digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit())
            && !digits.ends_with('.');
        match rest[..end].parse::<f64>() {
            Ok(number) if strict => {
                self.at += end;
                Ok(Json::Number(number))
            }
            _ => Err(self.malformed()),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let rest = self.rest();
        if !rest.starts_with('"') {
            return Err(self.malformed());
        }
        let bytes = rest.as_bytes();
        let mut end = 1;
        while let Some(byte) = bytes.get(end) {
            match byte {
                b'"' => {
                    let text = serde_json::from_str(&rest[..=end]).map_err(|_| self.malformed())?;
                    self.at += end + 1;
                    return Ok(text);
                }
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        Err(self.malformed())
    }
}
