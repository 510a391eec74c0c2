//! JSON text that depends on a value alone.

use serde_json::Value;

/// `value` with the members of objects in the order of their names.
///
/// `Value`'s own order depends on a feature of serde_json that any crate of a build can switch on, and what an app sees must
/// not. The depth is limited by the parser that has made the value.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// `text` as a JSON string.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (n, (name, member)) in members.into_iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                out.push_str(&string(name));
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}
