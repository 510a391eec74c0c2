//! Requests and answers as text. `UPDATE_EXPECT=1` writes the answers anew.
//!
//! ```text
//! # A remark.
//! > POST /app/log?x=1 [content-type: text/plain] the body
//! 200 text/plain, tx; x-more: 1
//! | the body
//!
//! rw> ccf.kv['a'].size
//! 0
//! ```
//!
//! A request's `\n`, `\r`, `\t` and `\\` are escapes. An answer is its status, its content type, `tx` if it names a transaction, and
//! the headers that are not in every answer. `rw>` and `ro>` have an expression evaluated by the app `apps/eval.js`, in an
//! endpoint that may write and in one that may not: what comes of it, or what is thrown.

use super::client::{Answer, Client};
use expect_test::ExpectFile;
use serde_json::Value;
use std::fmt::Write;

/// Headers that say nothing about the app.
const USUAL: [&str; 4] = ["content-type", "content-length", "date", "x-ms-ccf-transaction-id"];

/// Plays a session again, and compares.
pub fn play(client: &mut Client, text: &str, expected: ExpectFile) {
    let mut played = String::new();
    let mut after_request = false;
    for line in text.lines() {
        if let Some(request) = line.strip_prefix("> ") {
            writeln!(played, "{line}\n{}", shown(&request_of(client, request))).expect("a string takes everything");
            after_request = true;
        } else if let Some((endpoint, expression)) = evaluated(line) {
            let answer = client.send("POST", endpoint, &[], expression.as_bytes());
            writeln!(played, "{line}\n{}", value(&answer)).expect("a string takes everything");
            after_request = true;
        } else if line.is_empty() || line.starts_with('#') {
            after_request = false;
            writeln!(played, "{line}").expect("a string takes everything");
        } else {
            assert!(after_request, "neither a request nor an answer: {line}");
        }
    }
    expected.assert_eq(&played);
}

fn evaluated(line: &str) -> Option<(&'static str, &str)> {
    let at = |prefix, endpoint| line.strip_prefix(prefix).map(|expression| (endpoint, expression));
    at("rw> ", "/app/run").or_else(|| at("ro> ", "/app/look"))
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        out.push(match (letter, letter == '\\') {
            (_, false) => letter,
            (_, true) => match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
        });
    }
    out
}

fn request_of(client: &mut Client, text: &str) -> Answer {
    let (method, rest) = text.split_once(' ').expect("a method");
    let (target, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut headers = Vec::new();
    while let Some((header, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        headers.push(header.split_once(": ").expect("name and value"));
        rest = after.trim_start();
    }
    client.send(method, target, &headers, unescaped(rest).as_bytes())
}

/// An answer in lines.
fn shown(answer: &Answer) -> String {
    let mut text = answer.status.to_string();
    if let Some(kind) = answer.header("content-type") {
        write!(text, " {kind}").expect("a string takes everything");
    }
    if answer.txid().is_some() {
        text.push_str(", tx");
    }
    for (name, value) in answer.headers.iter().filter(|(name, _)| !USUAL.contains(&name.as_str())) {
        write!(text, "; {name}: {value}").expect("a string takes everything");
    }
    let printable = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let body = match std::str::from_utf8(&answer.body) {
        Ok(body) if body.chars().all(printable) => body.to_owned(),
        _ => format!("{:02x?}", answer.body),
    };
    for line in body.lines() {
        write!(text, "\n| {line}").expect("a string takes everything");
    }
    text
}

/// What an expression came to: the body, or what was thrown.
fn value(answer: &Answer) -> String {
    if answer.status == 200 {
        return answer.text();
    }
    let error: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match error["error"]["details"][0]["message"].as_str() {
        Some(message) => format!("! {message}"),
        None => shown(answer),
    }
}
