//! The kernel's tables as `dump()` prints them: three arrays, laid out as Node's `util.inspect` does with `depth: null`.
//!
//! What a person reads is what SwingSet of 2019 shows. Reference counts, objects and the queues of garbage are in `dump2()` and
//! `dump({ json: true })` alone; a promise's decider is shown where it has one: while its message waits in a queue it has none.
//! Nothing is put in columns: one row, one line.

use machine::vats::{DataDump, Dump, ItemDump, MessageDump, PromiseDump};
use std::fmt::Write as _;

/// A line is not made longer than this by putting what is nested into it.
const LINE_CHARS: usize = 80;

/// So many levels of nesting at most share a line.
const LEVELS_PER_LINE: usize = 3;

/// Of a string no more is shown.
const MAX_STRING_CHARS: usize = 10_000;

/// `Kernel Table:` and what follows.
pub fn dump(dump: &Dump) -> String {
    let row = |(kref, party, vref): &(String, String, String)| List([kref, party, vref].map(|word| text(word)).to_vec());
    let kernel_table = List(dump.kernel_table.iter().map(row).collect());
    let promises = List(dump.promises.iter().map(promise).collect());
    let run_queue = List(dump.run_queue.iter().map(item).collect());
    let [kernel_table, promises, run_queue] = [kernel_table, promises, run_queue].map(|value| inspect(&value));
    format!("Kernel Table:\n{kernel_table}\nPromises:\n{promises}\nRun Queue:\n{run_queue}")
}

/// A value of JavaScript, as far as tables have them.
#[derive(Clone)]
enum Value {
    Null,
    Text(String),
    List(Vec<Value>),
    Record(Vec<(&'static str, Value)>),
}
use Value::{List, Null, Record, Text};

fn text(text: &str) -> Value {
    Text(text.to_owned())
}

fn names(names: &[String]) -> Value {
    List(names.iter().map(|name| text(name)).collect())
}

fn data(DataDump { body, slots }: &DataDump) -> Value {
    Record(vec![("body", text(body)), ("slots", names(slots))])
}

fn message(message: &MessageDump) -> Value {
    let mut fields = Vec::new();
    fields.extend(message.method.as_deref().map(|method| ("method", text(method))));
    fields.extend(message.args.as_ref().map(|args| ("args", data(args))));
    fields.extend(message.methargs.as_ref().map(|methargs| ("methargs", data(methargs))));
    fields.push(("result", message.result.as_deref().map_or(Null, text)));
    Record(fields)
}

fn promise(promise: &PromiseDump) -> Value {
    let mut fields = vec![("id", text(&promise.id)), ("state", text(promise.state))];
    fields.extend(promise.decider.as_deref().map(|decider| ("decider", text(decider))));
    fields.extend(promise.subscribers.as_deref().map(|subscribers| ("subscribers", names(subscribers))));
    fields.extend(promise.queue.as_deref().map(|queue| ("queue", List(queue.iter().map(message).collect()))));
    fields.extend(promise.data.as_ref().map(|with| ("data", data(with))));
    fields.extend(promise.slot.as_deref().map(|slot| ("slot", text(slot))));
    Record(fields)
}

fn item(item: &ItemDump) -> Value {
    let of_vat = |kind: &str, vat: &str| Record(vec![("type", text(kind)), ("vatID", text(vat))]);
    match item {
        ItemDump::Send { target, msg } => Record(vec![("type", text("send")), ("target", text(target)), ("msg", message(msg))]),
        ItemDump::Notify { vat_id, kpid } => {
            Record(vec![("type", text("notify")), ("vatID", text(vat_id)), ("kpid", text(kpid))])
        }
        ItemDump::Start { vat_id } => of_vat("startVat", vat_id),
        ItemDump::Upgrade { vat_id } => of_vat("upgrade-vat", vat_id),
    }
}

fn inspect(value: &Value) -> String {
    Layout { deepest: 0 }.of(value, 0, 0)
}

struct Layout {
    /// How deep the value that was laid out last, or the last one in it, is.
    deepest: usize,
}

impl Layout {
    fn of(&mut self, value: &Value, depth: usize, indent: usize) -> String {
        let (open, parts, close) = match value {
            Null => return "null".into(),
            Text(text) => return quoted(text),
            List(items) if items.is_empty() => return "[]".into(),
            Record(fields) if fields.is_empty() => return "{}".into(),
            List(items) => {
                self.deepest = depth;
                ('[', items.iter().map(|item| self.of(item, depth + 1, indent + 2)).collect::<Vec<_>>(), ']')
            }
            Record(fields) => {
                self.deepest = depth;
                let field = |(key, value): &(&str, Value)| format!("{key}: {}", self.of(value, depth + 1, indent + 2));
                ('{', fields.iter().map(field).collect(), '}')
            }
        };
        // As Node counts: the commas, the brackets and the indentation, and a little more.
        let start = parts.len() + indent + 11;
        let chars = parts.iter().map(|part| part.encode_utf16().count()).sum::<usize>() + parts.len() + start;
        let fits = self.deepest - depth < LEVELS_PER_LINE && chars <= LINE_CHARS && !parts.iter().any(|part| part.contains('\n'));
        if fits {
            return format!("{open} {} {close}", parts.join(", "));
        }
        let margin = " ".repeat(indent);
        format!("{open}\n{margin}  {}\n{margin}{close}", parts.join(&format!(",\n{margin}  ")))
    }
}

/// As a literal, in the quotes that need the fewest escapes.
fn quoted(text: &str) -> String {
    let quote = match text {
        text if !text.contains('\'') => '\'',
        text if !text.contains('"') => '"',
        text if !text.contains('`') && !text.contains("${") => '`',
        _ => '\'',
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    let mut chars = text.chars();
    for c in chars.by_ref().take(MAX_STRING_CHARS) {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            // What a terminal would obey.
            c if c.is_control() => write!(out, "\\x{:02X}", u32::from(c)).expect("a string takes everything"),
            c => out.push(c),
        }
    }
    out.push(quote);
    match chars.count() {
        0 => {}
        1 => out.push_str("... 1 more character"),
        more => write!(out, "... {more} more characters").expect("a string takes everything"),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
        words.map(str::to_owned).to_vec()
    }

    fn body(text: &str) -> DataDump {
        DataDump { body: text.into(), slots: Vec::new() }
    }

    fn unresolved(id: &str) -> PromiseDump {
        PromiseDump {
            id: id.into(),
            state: "unresolved",
            ref_count: 1,
            decider: None,
            subscribers: Some(Vec::new()),
            queue: Some(Vec::new()),
            data: None,
            slot: None,
        }
    }

    fn empty() -> Dump {
        Dump {
            log: Vec::new(),
            vat_tables: Vec::new(),
            kernel_table: Vec::new(),
            promises: Vec::new(),
            objects: Vec::new(),
            gc_actions: Vec::new(),
            reap_queue: Vec::new(),
            run_queue: Vec::new(),
            acceptance_queue: Vec::new(),
        }
    }

    /// After two steps of the encouragement bot: what `util.inspect` of Node 20 makes of what SwingSet's `dump()` returns.
    #[test]
    fn the_encouragement_bot_after_two_steps() {
        let rows = [
            ["kd30", "d7", "d+0"],
            ["kd30", "v3", "d-70"],
            ["ko20", "v3", "o+0"],
            ["ko21", "v1", "o+0"],
            ["ko21", "v2", "o-50"],
            ["ko21", "v3", "o-50"],
            ["ko22", "v2", "o+0"],
            ["ko22", "v3", "o-51"],
            ["kp40", "v2", "p-60"],
            ["kp40", "v3", "p+5"],
            ["kp41", "v2", "p+5"],
        ];
        let said = "\"Thanks for the setup. I sure hope I get some encouragement...\"";
        let message = MessageDump {
            method: Some("encourageMe".into()),
            args: Some(body("[\"user\"]")),
            methargs: None,
            result: Some("kp41".into()),
        };
        let tables = Dump {
            kernel_table: rows.map(|[kref, party, vref]| (kref.into(), party.into(), vref.into())).to_vec(),
            promises: vec![
                PromiseDump {
                    state: "fulfilledToData",
                    subscribers: None,
                    queue: None,
                    data: Some(body(said)),
                    ..unresolved("kp40")
                },
                PromiseDump { subscribers: Some(words(["v2"])), ..unresolved("kp41") },
            ],
            run_queue: vec![
                ItemDump::Send { target: "ko21".into(), msg: message },
                ItemDump::Notify { vat_id: "v3".into(), kpid: "kp40".into() },
            ],
            ..empty()
        };
        assert_eq!(
            dump(&tables),
            r#"Kernel Table:
[
  [ 'kd30', 'd7', 'd+0' ],
  [ 'kd30', 'v3', 'd-70' ],
  [ 'ko20', 'v3', 'o+0' ],
  [ 'ko21', 'v1', 'o+0' ],
  [ 'ko21', 'v2', 'o-50' ],
  [ 'ko21', 'v3', 'o-50' ],
  [ 'ko22', 'v2', 'o+0' ],
  [ 'ko22', 'v3', 'o-51' ],
  [ 'kp40', 'v2', 'p-60' ],
  [ 'kp40', 'v3', 'p+5' ],
  [ 'kp41', 'v2', 'p+5' ]
]
Promises:
[
  {
    id: 'kp40',
    state: 'fulfilledToData',
    data: {
      body: '"Thanks for the setup. I sure hope I get some encouragement..."',
      slots: []
    }
  },
  { id: 'kp41', state: 'unresolved', subscribers: [ 'v2' ], queue: [] }
]
Run Queue:
[
  {
    type: 'send',
    target: 'ko21',
    msg: {
      method: 'encourageMe',
      args: { body: '["user"]', slots: [] },
      result: 'kp41'
    }
  },
  { type: 'notify', vatID: 'v3', kpid: 'kp40' }
]"#
        );
    }

    #[test]
    fn what_is_empty_short_or_todays() {
        assert_eq!(dump(&empty()), "Kernel Table:\n[]\nPromises:\n[]\nRun Queue:\n[]");
        let today = MessageDump { method: None, args: None, methargs: Some(body("#[\"go\",[]]")), result: None };
        let tables = Dump {
            kernel_table: vec![("ko20".into(), "v1".into(), "o+0".into())],
            promises: vec![
                PromiseDump { decider: Some("v2".into()), ..unresolved("kp40") },
                PromiseDump {
                    state: "fulfilledToPresence",
                    subscribers: None,
                    queue: None,
                    slot: Some("ko20".into()),
                    ..unresolved("kp41")
                },
            ],
            run_queue: vec![ItemDump::Start { vat_id: "v1".into() }, ItemDump::Send { target: "ko20".into(), msg: today }],
            ..empty()
        };
        assert_eq!(
            dump(&tables),
            r##"Kernel Table:
[ [ 'ko20', 'v1', 'o+0' ] ]
Promises:
[
  {
    id: 'kp40',
    state: 'unresolved',
    decider: 'v2',
    subscribers: [],
    queue: []
  },
  { id: 'kp41', state: 'fulfilledToPresence', slot: 'ko20' }
]
Run Queue:
[
  { type: 'startVat', vatID: 'v1' },
  {
    type: 'send',
    target: 'ko20',
    msg: { methargs: { body: '#["go",[]]', slots: [] }, result: null }
  }
]"##
        );
    }

    #[test]
    fn strings_as_node_quotes_them() {
        for (text, expected) in [
            ("", "''"),
            ("it's", "\"it's\""),
            ("'\"", "`'\"`"),
            ("'\"`", "'\\'\"`'"),
            ("'\"${", "'\\'\"${'"),
            ("a\n\\\u{1b}[2J\u{7f}é😀", "'a\\n\\\\\\x1B[2J\\x7Fé😀'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
        assert!(quoted(&"x".repeat(MAX_STRING_CHARS + 2)).ends_with("x'... 2 more characters"));
    }
}
