//! An entry of the call log as text: a row of a table for people, a line of JSON for programs.

use base64::Engine as _;
use ledger::TxId;
use machine::{Caller, Code, Entry, Input, Settings};
use serde::Serialize;
use serde_json::value::RawValue;
use std::io::{self, Write};

/// Characters of a call or a result in a row.
const MAX_SHOWN_CHARS: usize = 60;

/// Characters that a column pads to. A longer field pushes the rest of its row to the right.
const MAX_COLUMN_CHARS: usize = 44;

/// The columns of a row: number, transaction, caller, call, result, files version.
const COLUMNS: usize = 6;

/// A row of the table.
pub type Row = [String; COLUMNS];

/// A key by its first digits: nobody reads more in a table.
fn caller_shown(caller: &Caller) -> String {
    match caller {
        Caller::Anonymous => "-".into(),
        Caller::Named(name) => shown(name),
        Caller::Signed(signed) => format!("{}…", &ledger::hex::encode(&signed.key)[..16]),
    }
}

pub fn row(number: u64, txid: TxId, entry: &Entry, files_version: u64) -> Row {
    let (caller, call) = match &entry.input {
        Input::Deploy { code, .. } => ("-".into(), format!("deploy {}", shown(&code.name))),
        Input::Init { .. } => ("-".into(), "init()".into()),
        Input::Call(call) => {
            let args = compact(&call.args);
            let inner = args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).unwrap_or(&args);
            (caller_shown(&call.caller), format!("{}({})", shown(&call.method), shown(inner)))
        }
    };
    let result = match &entry.result {
        Ok(Some(json)) => format!("→ {}", shown(&compact(json))),
        Ok(None) => "→ undefined".into(),
        Err(failure) if failure.message.is_empty() => format!("✖ {}", shown(&failure.name)),
        Err(failure) => format!("✖ {}", shown(&format!("{}: {}", failure.name, failure.message))),
    };
    [number.to_string(), txid.to_string(), caller, call, result, format!("files {files_version}")]
}

/// Shortened, on one line, and without anything that a terminal would obey.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == MAX_SHOWN_CHARS {
            shown.push('…');
            break;
        }
        match c {
            '\n' => shown.push_str("\\n"),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// The widths of the columns so far.
#[derive(Default)]
pub struct Table {
    widths: [usize; COLUMNS],
}

impl Table {
    /// Prints rows, aligned with each other and with those before.
    pub fn print(&mut self, rows: &mut Vec<Row>, out: &mut impl Write) -> io::Result<()> {
        for row in rows.iter() {
            for (width, field) in self.widths.iter_mut().zip(row) {
                *width = field.chars().count().min(MAX_COLUMN_CHARS).max(*width);
            }
        }
        for row in rows.drain(..) {
            let [number, fields @ .., last] = &row;
            write!(out, "{number:>0$}", self.widths[0])?;
            for (field, width) in fields.iter().zip(&self.widths[1..]) {
                write!(out, "  {field:<width$}")?;
            }
            writeln!(out, "  {last}")?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    number: u64,
    transaction: String,
    time: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deploy: Option<Deployed<'a>>,
    caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
    files_version: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Deployed<'a> {
    name: &'a str,
    source: &'a str,
    heap_bytes: u32,
    stack_bytes: u32,
    instructions: u64,
}

#[derive(Serialize)]
struct Error<'a> {
    name: &'a str,
    message: &'a str,
    stack: &'a str,
}

/// One JSON object on one line. `type` is `deploy`, `init` or `call`; without `result` and `error`, it was `undefined`.
pub fn json(number: u64, txid: TxId, entry: &Entry, files_version: u64) -> String {
    let raw = |text: &str| RawValue::from_string(compact(text)).ok();
    let mut line = Json {
        number,
        transaction: txid.to_string(),
        time: entry.input.time_ms(),
        kind: "call",
        deploy: None,
        caller: None,
        nonce: None,
        head: None,
        signature: None,
        method: None,
        args: None,
        result: None,
        error: None,
        files_version,
    };
    match &entry.input {
        Input::Deploy { code: Code { name, source, settings }, .. } => {
            let Settings { heap_bytes, stack_bytes, instructions } = *settings;
            line.kind = "deploy";
            line.deploy = Some(Deployed { name, source, heap_bytes, stack_bytes, instructions });
        }
        Input::Init { .. } => {
            line.kind = "init";
            line.method = Some("init");
            line.args = raw("[]");
        }
        Input::Call(call) => {
            line.caller = call.caller.id();
            if let Caller::Signed(signed) = &call.caller {
                line.nonce = Some(signed.nonce());
                line.head = Some(signed.head.to_string());
                line.signature = Some(base64::prelude::BASE64_STANDARD.encode(signed.signature));
            }
            line.method = Some(&call.method);
            line.args = raw(&call.args);
        }
    }
    match &entry.result {
        Ok(json) => line.result = json.as_deref().and_then(raw),
        Err(failure) => line.error = Some(Error { name: &failure.name, message: &failure.message, stack: &failure.stack }),
    }
    serde_json::to_string(&line).expect("strings and numbers can be written")
}

/// JSON without the white space between its tokens. Numbers and strings stay as they are spelled.
fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        if quoted {
            quoted = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            quoted = c == '"';
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_space_between_tokens_goes() {
        assert_eq!(compact("[ 1.0,\n\t\"a \\\" \\\\\" , {\"b c\" : null} ]"), "[1.0,\"a \\\" \\\\\",{\"b c\":null}]");
    }

    #[test]
    fn a_terminal_obeys_nothing_of_a_row() {
        assert_eq!(shown("a\u{1b}[31m\nb\u{9b}"), "a\\u{1b}[31m\\nb\\u{9b}");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), MAX_SHOWN_CHARS + 1);
    }

    #[test]
    fn columns_are_aligned() {
        let row = |fields: [&str; COLUMNS]| fields.map(str::to_owned);
        let mut table = Table::default();
        let mut out = Vec::new();
        let mut rows =
            vec![row(["9", "2.9", "-", "a()", "→ 1", "files 1"]), row(["10", "2.10", "bob", "b()", "→ 22", "files 1"])];
        table.print(&mut rows, &mut out).expect("a vector takes everything");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            " 9  2.9   -    a()  → 1   files 1\n10  2.10  bob  b()  → 22  files 1\n"
        );
        assert!(rows.is_empty());
    }
}
