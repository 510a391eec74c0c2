//! An entry of the call log as text: a row of a table for people, a line of JSON for programs.

use base64::Engine as _;
use ledger::TxId;
use machine::outside::encode_oracles;
use machine::{Caller, Code, Entry, Input, Settings};
use sandbox::OracleAnswer;
use serde::Serialize;
use serde_json::value::RawValue;
use std::io::{self, Write};

/// Characters of a call or a result in a row.
const MAX_SHOWN_CHARS: usize = 60;

/// Characters that a column pads to. A longer field pushes the rest of its row to the right.
const MAX_COLUMN_CHARS: usize = 44;

/// The columns of a row: number, transaction, caller, call, result, files version.
const COLUMNS: usize = 6;

/// Answers of oracles that are shown for one call.
const MAX_SHOWN_ORACLES: usize = 10;

/// An entry of the log.
pub struct Logged<'a> {
    /// Its number.
    pub number: u64,
    /// Its transaction.
    pub txid: TxId,
    /// What was asked, and what came of it.
    pub entry: &'a Entry,
    /// What oracles told it: nobody can check that.
    pub oracles: &'a [OracleAnswer],
    /// The version of the files after it.
    pub files_version: u64,
}

/// A row of the table, and the lines below it.
pub struct Row {
    fields: [String; COLUMNS],
    notes: Vec<String>,
}

/// A key by its first digits: nobody reads more in a table.
fn caller_shown(caller: &Caller) -> String {
    match caller {
        Caller::Anonymous => "-".into(),
        Caller::Named(name) => shown(name),
        Caller::Signed(signed) => format!("{}…", &ledger::hex::encode(&signed.key)[..16]),
    }
}

pub fn row(&Logged { number, txid, entry, oracles, files_version }: &Logged) -> Row {
    let (caller, call) = match &entry.input {
        Input::Deploy { code, .. } => ("-".into(), format!("deploy {}", shown(&code.name))),
        Input::Init { .. } => ("-".into(), "init()".into()),
        Input::Vats { work, .. } => ("-".into(), work.name().into()),
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
    let trusted = |text: &str| format!("oracle (trusted): {text}");
    let told = |answer| trusted(&shown(&sandbox::encode_oracle_answer(answer)));
    let mut notes: Vec<String> = oracles.iter().take(MAX_SHOWN_ORACLES).map(told).collect();
    if oracles.len() > MAX_SHOWN_ORACLES {
        notes.push(trusted(&format!("{} more", oracles.len() - MAX_SHOWN_ORACLES)));
    }
    Row { fields: [number.to_string(), txid.to_string(), caller, call, result, format!("files {files_version}")], notes }
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
        for Row { fields, .. } in rows.iter() {
            for (width, field) in self.widths.iter_mut().zip(fields) {
                *width = field.chars().count().min(MAX_COLUMN_CHARS).max(*width);
            }
        }
        for Row { fields, notes } in rows.drain(..) {
            let [number, fields @ .., last] = &fields;
            write!(out, "{number:>0$}", self.widths[0])?;
            for (field, width) in fields.iter().zip(&self.widths[1..]) {
                write!(out, "  {field:<width$}")?;
            }
            writeln!(out, "  {last}")?;
            for note in notes {
                writeln!(out, "{:1$}  {note}", "", self.widths[0])?;
            }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    oracles: Option<Box<RawValue>>,
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

/// One JSON object on one line. `type` is `deploy`, `init` or `call`; without `result` and `error`, it was `undefined`. `oracles`
/// is what they told, as the ledger has it.
pub fn json(&Logged { number, txid, entry, oracles, files_version }: &Logged) -> String {
    let raw = |text: &str| RawValue::from_string(compact(text)).ok();
    let told = String::from_utf8(encode_oracles(oracles)).expect("JSON is text");
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
        oracles: if oracles.is_empty() { None } else { raw(&told) },
        files_version,
    };
    match &entry.input {
        Input::Deploy { code: Code { name, source, settings }, .. } => {
            let Settings { heap_bytes, stack_bytes, instructions } = *settings;
            line.kind = "deploy";
            line.deploy = Some(Deployed { name, source, heap_bytes, stack_bytes, instructions });
        }
        Input::Vats { work, .. } => {
            line.kind = "vats";
            line.method = Some(work.name());
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
        let row = |fields: [&str; COLUMNS]| Row { fields: fields.map(str::to_owned), notes: Vec::new() };
        let mut table = Table::default();
        let mut out = Vec::new();
        let mut rows =
            vec![row(["9", "2.9", "-", "a()", "→ 1", "files 1"]), row(["10", "2.10", "bob", "b()", "→ 22", "files 1"])];
        rows[0].notes.push("a note".to_owned());
        table.print(&mut rows, &mut out).expect("a vector takes everything");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            " 9  2.9   -    a()  → 1   files 1\n    a note\n10  2.10  bob  b()  → 22  files 1\n"
        );
        assert!(rows.is_empty());
    }
}
