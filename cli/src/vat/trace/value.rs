//! What a body says, for people: JavaScript, but for slots (`$0`, `&0`) and errors (`TypeError: no`). In messages there are smallcaps,
//! where the first character of a string tells, and records with `@qclass`.

use serde_json::{Map, Value};

/// Bytes of a body that is read to be shown shortly. Of longer ones the beginning is shown as it stands.
const READ_BYTES: usize = 4_096;

/// What a body says as one value. None: it is long, or no JSON.
pub fn of(body: &str) -> Option<String> {
    let (form, json) = split(body);
    Some(form.shown(&read(json)?))
}

/// What a message's arguments say. `in_body`: the method comes first in the body.
pub fn arguments(body: &str, in_body: bool) -> Option<String> {
    let (form, json) = split(body);
    let Value::Array(mut items) = read(json)? else { return None };
    let items = match in_body {
        false => items,
        true => match items.pop()? {
            Value::Array(items) => items,
            _ => return None,
        },
    };
    Some(form.list(&items, ", "))
}

fn split(body: &str) -> (Form, &str) {
    match body.strip_prefix('#') {
        Some(json) => (Form::Smallcaps, json),
        None => (Form::Qclass, body),
    }
}

fn read(json: &str) -> Option<Value> {
    if json.len() > READ_BYTES { None } else { serde_json::from_str(json).ok() }
}

#[derive(Clone, Copy)]
enum Form {
    Smallcaps,
    Qclass,
}

impl Form {
    fn shown(self, value: &Value) -> String {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(items) => format!("[{}]", self.list(items, ",")),
            Value::Object(fields) => {
                let special = match self {
                    Form::Smallcaps => smallcaps_record(fields),
                    Form::Qclass => qclass_record(fields),
                };
                special.unwrap_or_else(|| format!("{{{}}}", self.fields(fields)))
            }
            other => other.to_string(),
        }
    }

    fn list(self, items: &[Value], between: &str) -> String {
        items.iter().map(|item| self.shown(item)).collect::<Vec<_>>().join(between)
    }

    fn fields(self, fields: &Map<String, Value>) -> String {
        let fields = fields.iter().map(|(name, value)| format!("{}:{}", quoted(self.text(name)), self.shown(value)));
        fields.collect::<Vec<_>>().join(",")
    }

    /// A string that stands for nothing but a string.
    fn text(self, text: &str) -> &str {
        match self {
            Form::Smallcaps => text.strip_prefix('!').unwrap_or(text),
            Form::Qclass => text,
        }
    }

    fn string(self, text: &str) -> String {
        let special = match self {
            Form::Smallcaps => smallcaps_string(text),
            Form::Qclass => None,
        };
        special.unwrap_or_else(|| quoted(self.text(text)))
    }

    fn error(self, name: Option<&Value>, message: Option<&Value>) -> String {
        let text = |value: Option<&Value>| self.text(value.and_then(Value::as_str).unwrap_or_default()).to_owned();
        format!("{}: {}", text(name), text(message))
    }

    fn tagged(self, tag: &Value, payload: Option<&Value>) -> String {
        format!("makeTagged({}, {})", self.shown(tag), payload.map_or_else(String::new, |payload| self.shown(payload)))
    }
}

fn smallcaps_string(text: &str) -> Option<String> {
    let (first, rest) = (text.chars().next()?, text.get(1..)?);
    match first {
        '#' => ["undefined", "NaN", "Infinity", "-Infinity"].contains(&rest).then(|| rest.to_owned()),
        '+' if is_number(rest) => Some(format!("{rest}n")),
        '-' if is_number(rest) => Some(format!("{text}n")),
        '%' => Some(symbol(rest)),
        // `$0.Alleged: root`
        '$' | '&' => {
            let slot = text.split('.').next().unwrap_or_default();
            is_number(&slot[1..]).then(|| slot.to_owned())
        }
        _ => None,
    }
}

fn smallcaps_record(fields: &Map<String, Value>) -> Option<String> {
    match (fields.get("#error"), fields.get("#tag")) {
        (Some(message), _) => Some(Form::Smallcaps.error(fields.get("name"), Some(message))),
        (_, Some(tag)) => Some(Form::Smallcaps.tagged(tag, fields.get("payload"))),
        _ => None,
    }
}

fn qclass_record(fields: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let index = || fields.get("index").and_then(Value::as_u64);
    match text("@qclass")? {
        constant @ ("undefined" | "NaN" | "Infinity" | "-Infinity" | "-0") => Some(constant.to_owned()),
        "bigint" => text("digits").map(|digits| format!("{digits}n")),
        // By name today, by key in 2019.
        "symbol" => text("name").map(symbol).or_else(|| text("key").map(registered)),
        "@@asyncIterator" => Some(symbol("@@asyncIterator")),
        "slot" => index().map(|index| format!("${index}")),
        "ibid" => index().map(|index| format!("ibid({index})")),
        "error" => Some(Form::Qclass.error(fields.get("name"), fields.get("message"))),
        "tagged" => fields.get("tag").map(|tag| Form::Qclass.tagged(tag, fields.get("payload"))),
        "hilbert" => {
            let original = format!("\"@qclass\":{}", Form::Qclass.shown(fields.get("original")?));
            let rest = fields.get("rest").and_then(Value::as_object).map(|rest| format!(",{}", Form::Qclass.fields(rest)));
            Some(format!("{{{original}{}}}", rest.unwrap_or_default()))
        }
        _ => None,
    }
}

/// `@@iterator` is a symbol of the language; `@@@@x` is registered as `@@x`.
fn symbol(name: &str) -> String {
    match name.strip_prefix("@@") {
        Some(rest) if rest.starts_with("@@") => registered(rest),
        Some(known) => format!("Symbol.{known}"),
        None => registered(name),
    }
}

fn registered(key: &str) -> String {
    format!("Symbol.for({})", quoted(key))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_says() {
        for (body, shown) in [
            (r##"#"+12""##, "12n"),
            (r##"#"-12""##, "-12n"),
            (r##"#"#NaN""##, "NaN"),
            (r##"#"#-Infinity""##, "-Infinity"),
            (r##"#"#undefined""##, "undefined"),
            (r##"#"!+hello""##, "\"+hello\""),
            (r##"#"!!""##, "\"!\""),
            (r##"#"%x""##, "Symbol.for(\"x\")"),
            (r##"#"%@@iterator""##, "Symbol.iterator"),
            (r##"#"%@@@@iterator""##, "Symbol.for(\"@@iterator\")"),
            (r##"#["$0.Alleged: root","&1","$2",-0.5,null]"##, "[$0,&1,$2,-0.5,null]"),
            (r##"#{"!#error":1,"a":{"b":"+1"}}"##, r##"{"#error":1,"a":{"b":1n}}"##),
            (r##"#{"#error":"!-1","name":"RangeError"}"##, "RangeError: -1"),
            (r##"#{"#tag":"copySet","payload":["+1"]}"##, "makeTagged(\"copySet\", [1n])"),
            (r##"#{"@qclass":"undefined"}"##, r##"{"@qclass":"undefined"}"##),
            // What nobody means, as it stands.
            (r##"#["#x","+","-1x","$","$x"]"##, r##"["#x","+","-1x","$","$x"]"##),
            (r#""+12""#, "\"+12\""),
            (r##""#undefined""##, "\"#undefined\""),
            (r#""$0""#, "\"$0\""),
            (r#"{"@qclass":"undefined"}"#, "undefined"),
            (r#"[{"@qclass":"-0"},{"@qclass":"NaN"},{"@qclass":"bigint","digits":"-5"}]"#, "[-0,NaN,-5n]"),
            (r#"{"@qclass":"symbol","key":"@@x"}"#, "Symbol.for(\"@@x\")"),
            (r#"{"@qclass":"symbol","name":"@@iterator"}"#, "Symbol.iterator"),
            (r#"{"@qclass":"@@asyncIterator"}"#, "Symbol.asyncIterator"),
            (r#"[{"@qclass":"slot","index":3},{"@qclass":"ibid","index":2}]"#, "[$3,ibid(2)]"),
            (r#"{"@qclass":"error","name":"Error","message":"!no"}"#, "Error: !no"),
            (r#"{"@qclass":"tagged","tag":"t","payload":{"@qclass":"undefined"}}"#, "makeTagged(\"t\", undefined)"),
            (r#"{"@qclass":"hilbert","original":"x","rest":{"a":1}}"#, r#"{"@qclass":"x","a":1}"#),
            (r#"{"@qclass":"new"}"#, r#"{"@qclass":"new"}"#),
        ] {
            assert_eq!(of(body).as_deref(), Some(shown), "{body}");
        }
        assert_eq!(of("[1"), None);
        assert_eq!(of(&format!("#\"{}\"", "x".repeat(READ_BYTES))), None);
    }

    #[test]
    fn arguments_with_and_without_the_method() {
        for (body, in_body, shown) in [
            ("#[\"go\",[1,[2,\"+3\"]]]", true, Some("1, [2,3n]")),
            ("#[1,[2,\"+3\"]]", false, Some("1, [2,3n]")),
            ("[1,[2,3]]", false, Some("1, [2,3]")),
            ("#[]", false, Some("")),
            ("#[\"go\",{}]", true, None),
            ("#[]", true, None),
            ("3", false, None),
        ] {
            assert_eq!(arguments(body, in_body).as_deref(), shown, "{body}");
        }
    }
}
