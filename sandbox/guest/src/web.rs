//! The native half of the web globals.
//!
//! The preludes `encoding`, `clone`, `url` and `inspect` are JavaScript; what a script may not be able to
//! observe or to redirect, and what is slow byte by byte, is here. [`register`] puts one function per
//! helper on the object `native` that every prelude is called with. Scripts never see that object.
//!
//! Invariants:
//! - a helper never runs a script: it reads the engine's own slots, strings and bytes, calls no method,
//!   follows no prototype, and triggers no proxy trap;
//! - a helper that can fail for a given input answers `undefined`, and the prelude throws the error that the
//!   specification names;
//! - a list that a helper returns has no prototype, so a setter on `Array.prototype` cannot change it;
//! - no clock, no randomness, no global state: the answer depends on the arguments only.

use std::borrow::Cow;
use std::fmt::Write as _;

use rquickjs::function::{Func, Opt};
use rquickjs::promise::PromiseState;
use rquickjs::{Array, ArrayBuffer, CString, Ctx, FromJs, IntoJs, Object, Promise, Result, String as JsString, Value, qjs};
use url::{Position, Url, form_urlencoded, quirks};

/// Puts the helpers of the web preludes on `native`.
pub fn register<'js>(_ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    native.set("classOf", Func::from(class_of))?;
    native.set("proxyTarget", Func::from(proxy_target))?;
    native.set("promiseState", Func::from(promise_state))?;
    native.set("promiseResult", Func::from(promise_result))?;
    native.set("copyBuffer", Func::from(copy_buffer))?;

    native.set("utf8Encode", Func::from(utf8_encode))?;
    native.set("utf8EncodeInto", Func::from(utf8_encode_into))?;
    native.set("decode", Func::from(decode))?;

    native.set("urlParse", Func::from(url_parse))?;
    native.set("urlSet", Func::from(url_set))?;
    native.set("urlOrigin", Func::from(url_origin))?;
    native.set("formParse", Func::from(form_parse))?;
    native.set("formSerialize", Func::from(form_serialize))?;

    native.set("quote", Func::from(quote))?;
    native.set("key", Func::from(key))?;
    native.set("width", Func::from(width))?;
    Ok(())
}

// ---------------------------------------------------------------------------------------------------
// Engine slots
// ---------------------------------------------------------------------------------------------------

/// The engine's name for the kind of an object (`"Map"`, `"Proxy"`, `"Uint8Array"`, ...), `""` for a primitive.
///
/// This is the class of the object's slots: neither its prototype nor `Symbol.toStringTag` has a say.
fn class_of<'js>(ctx: Ctx<'js>, value: Value<'js>) -> Result<Value<'js>> {
    if !value.is_object() {
        return "".into_js(&ctx);
    }
    if value.is_proxy() {
        return "Proxy".into_js(&ctx); // the engine calls it by what most of them stand for
    }
    let raw = ctx.as_raw().as_ptr();
    // SAFETY: `raw` is the live context of `value`, and `value` is an object, so it has a registered class.
    // `JS_GetClassName` returns an atom that we own and free, `JS_AtomToString` a value that we own and hand
    // over to `Value::from_raw`.
    unsafe {
        let class = qjs::JS_GetClassID(value.as_raw());
        let atom = qjs::JS_GetClassName(qjs::JS_GetRuntime(raw), class);
        let name = qjs::JS_AtomToString(raw, atom);
        qjs::JS_FreeAtom(raw, atom);
        Ok(Value::from_raw(ctx, name))
    }
}

/// What a proxy stands for, or `null` if it is revoked (or no proxy).
fn proxy_target<'js>(ctx: Ctx<'js>, value: Value<'js>) -> Value<'js> {
    // SAFETY: the context is live; the result is a value that we own, or the mark of an exception, which owns
    // nothing and is what `is_exception` tells.
    let target = unsafe { Value::from_raw(ctx.clone(), qjs::JS_GetProxyTarget(ctx.as_raw().as_ptr(), value.as_raw())) };
    if target.is_exception() {
        ctx.catch();
        return Value::new_null(ctx);
    }
    target
}

/// 0 pending, 1 fulfilled, 2 rejected.
fn promise_state(promise: Promise<'_>) -> u32 {
    match promise.state() {
        PromiseState::Pending => 0,
        PromiseState::Resolved => 1,
        PromiseState::Rejected => 2,
    }
}

/// The value or the reason of a settled promise.
fn promise_result<'js>(ctx: Ctx<'js>, promise: Promise<'js>) -> Value<'js> {
    // SAFETY: `promise` is a promise of this live context; the result is a value that we own.
    unsafe { Value::from_raw(ctx.clone(), qjs::JS_PromiseResult(ctx.as_raw().as_ptr(), promise.as_raw())) }
}

/// A new buffer with the same bytes, or `undefined` if the buffer is detached.
fn copy_buffer<'js>(ctx: Ctx<'js>, buffer: ArrayBuffer<'js>) -> Result<Option<ArrayBuffer<'js>>> {
    match bytes_of(&buffer) {
        Some(bytes) => ArrayBuffer::new_copy(ctx, bytes).map(Some),
        None => Ok(None),
    }
}

/// The bytes of a buffer. The caller must not run a script, nor write to the buffer, while it holds them.
fn bytes_of<'a>(buffer: &'a ArrayBuffer<'_>) -> Option<&'a [u8]> {
    // SAFETY: the pointer covers the buffer's bytes for as long as no script runs, which can detach or
    // resize it; helpers run none.
    buffer.as_raw().map(|raw| unsafe { raw.as_ref() })
}

/// A list without a prototype: what is stored in it never meets a setter of `Array.prototype`.
fn list<'js>(ctx: &Ctx<'js>) -> Result<Array<'js>> {
    let array = Array::new(ctx.clone())?;
    array.as_object().set_prototype(None)?;
    Ok(array)
}

/// The text of a JavaScript string with U+FFFD for every lone surrogate (a "scalar value string").
struct Text(String);

impl<'js> FromJs<'js> for Text {
    fn from_js(_ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        let raw = Raw::from_js(_ctx, value)?;
        Ok(Text(well_formed(raw.bytes()).into_owned()))
    }
}

/// A JavaScript string as the engine encodes it: UTF-8, but a lone surrogate stays, as three bytes `ED A0..BF xx`.
struct Raw<'js>(CString<'js>);

impl Raw<'_> {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the engine's C string is `len` bytes long and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len()) }
    }
}

impl<'js> FromJs<'js> for Raw<'js> {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        Ok(Raw(JsString::from_js(ctx, value)?.to_cstring()?))
    }
}

/// Replaces each lone surrogate by U+FFFD, which is as long.
fn well_formed(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut fixed = bytes.to_vec();
            let mut at = 0;
            while at + 2 < fixed.len() {
                if fixed[at] == 0xED && fixed[at + 1] >= 0xA0 {
                    fixed[at..at + 3].copy_from_slice("\u{FFFD}".as_bytes());
                    at += 2;
                }
                at += 1;
            }
            Cow::Owned(String::from_utf8_lossy(&fixed).into_owned())
        }
    }
}

// ---------------------------------------------------------------------------------------------------
// Encoding
// ---------------------------------------------------------------------------------------------------

/// The UTF-8 bytes of a string.
fn utf8_encode<'js>(ctx: Ctx<'js>, text: Raw<'js>) -> Result<ArrayBuffer<'js>> {
    ArrayBuffer::new_copy(ctx, well_formed(text.bytes()).as_bytes())
}

/// Writes as much of `text` as fits in `length` bytes from `offset`, and returns the list `[read, written]`:
/// UTF-16 units read and bytes written.
fn utf8_encode_into<'js>(
    ctx: Ctx<'js>,
    text: Raw<'js>,
    buffer: ArrayBuffer<'js>,
    offset: usize,
    length: usize,
) -> Result<Array<'js>> {
    let text = well_formed(text.bytes());
    let room = match buffer.as_raw() {
        Some(raw) if offset <= raw.len() => length.min(raw.len() - offset),
        _ => 0,
    };
    let mut written = text.len().min(room);
    while !text.is_char_boundary(written) {
        written -= 1;
    }
    let read = if text.is_ascii() { written } else { text[..written].encode_utf16().count() };
    if let (Some(raw), true) = (buffer.as_raw(), written > 0) {
        // SAFETY: `offset + written <= raw.len()`, and `text` is our own copy or the engine's string, never the
        // bytes of the buffer.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), raw.as_ptr().cast::<u8>().add(offset), written) };
    }
    let result = list(&ctx)?;
    result.set(0, read as f64)?;
    result.set(1, written as f64)?;
    Ok(result)
}

/// Decodes `length` bytes of `buffer` from `offset`.
///
/// `held` is what an earlier call kept back, up to three bytes of a sequence cut in two, as the number
/// `count << 24 | bytes`, big-endian. With `stream` the result is the list `[text, held]`, else the text alone.
/// A malformed sequence becomes U+FFFD or, if `fatal`, the result is `undefined`.
fn decode<'js>(
    ctx: Ctx<'js>,
    encoding: JsString<'js>,
    buffer: ArrayBuffer<'js>,
    offset: usize,
    length: usize,
    held: u32,
    Opt(flags): Opt<u32>,
) -> Result<Value<'js>> {
    const FATAL: u32 = 1;
    const STREAM: u32 = 2;
    let flags = flags.unwrap_or(0);
    let (fatal, stream) = (flags & FATAL != 0, flags & STREAM != 0);

    let all = bytes_of(&buffer).unwrap_or(&[]);
    let start = offset.min(all.len());
    let view = &all[start..start + length.min(all.len() - start)];
    let joined;
    let input = if held == 0 {
        view
    } else {
        let kept = held.to_be_bytes();
        joined = [&kept[4 - usize::from(kept[0].min(3))..], view].concat();
        &joined
    };

    let (text, rest) = match encoding.to_string()?.as_str() {
        "utf-8" => decode_utf8(input, fatal, stream),
        "utf-16le" => decode_utf16(input, fatal, stream, u16::from_le_bytes),
        "utf-16be" => decode_utf16(input, fatal, stream, u16::from_be_bytes),
        _ => (Some(Cow::Owned(input.iter().map(|&byte| windows_1252(byte)).collect())), &[][..]),
    };
    let Some(text) = text else {
        return Ok(Value::new_undefined(ctx));
    };
    let text = JsString::from_str(ctx.clone(), &text)?;
    if !stream {
        return Ok(text.into_value());
    }
    let held = rest.iter().fold(0, |word, &byte| word << 8 | u32::from(byte)) | (rest.len() as u32) << 24;
    let result = list(&ctx)?;
    result.set(0, text)?;
    result.set(1, held)?;
    Ok(result.into_value())
}

/// The text (`None`: malformed and `fatal`) and the bytes kept back for the next call.
fn decode_utf8(input: &[u8], fatal: bool, stream: bool) -> (Option<Cow<'_, str>>, &[u8]) {
    let whole = match std::str::from_utf8(input) {
        Ok(text) => return (Some(Cow::Borrowed(text)), &[]),
        Err(error) if fatal && (error.error_len().is_some() || !stream) => return (None, &[]),
        Err(_) => input,
    };
    // At most three bytes at the end can be the start of a longer sequence.
    let mut end = whole.len();
    if stream {
        let tail_from = whole.len().saturating_sub(3);
        for at in tail_from..whole.len() {
            if whole[at] >= 0xC0
                && matches!(std::str::from_utf8(&whole[at..]), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none())
            {
                end = at;
                break;
            }
        }
    }
    (Some(String::from_utf8_lossy(&whole[..end])), &whole[end..])
}

/// As [`decode_utf8`], for two bytes a unit.
fn decode_utf16(input: &[u8], fatal: bool, stream: bool, unit: fn([u8; 2]) -> u16) -> (Option<Cow<'_, str>>, &[u8]) {
    let is_high = |at: usize| (0xD800..0xDC00).contains(&unit([input[at], input[at + 1]]));
    let mut end = input.len() & !1;
    if stream && end >= 2 && is_high(end - 2) {
        end -= 2;
    }
    let units = input[..end].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let mut text = String::with_capacity(end / 2);
    for item in char::decode_utf16(units) {
        match item {
            Ok(c) => text.push(c),
            Err(_) if fatal => return (None, &[]),
            Err(_) => text.push('\u{FFFD}'),
        }
    }
    if !stream && end < input.len() {
        if fatal {
            return (None, &[]);
        }
        text.push('\u{FFFD}');
        end = input.len();
    }
    (Some(Cow::Owned(text)), &input[end..])
}

/// One byte of windows-1252, the encoding that the web calls latin1 and ascii.
fn windows_1252(byte: u8) -> char {
    // The rows 0x80 and 0x90; all other bytes are their own code points (WHATWG Encoding, index windows-1252).
    const HIGH: [char; 32] = [
        '\u{20AC}', '\u{81}', '\u{201A}', '\u{192}', '\u{201E}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2C6}', '\u{2030}',
        '\u{160}', '\u{2039}', '\u{152}', '\u{8D}', '\u{17D}', '\u{8F}', '\u{90}', '\u{2018}', '\u{2019}', '\u{201C}',
        '\u{201D}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2DC}', '\u{2122}', '\u{161}', '\u{203A}', '\u{153}', '\u{9D}',
        '\u{17E}', '\u{178}',
    ];
    match byte {
        0x80..=0x9F => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

// ---------------------------------------------------------------------------------------------------
// URL
// ---------------------------------------------------------------------------------------------------

/// Parses `input`, against `base` if given. See [`parts`] for the result; `undefined` if it is no URL.
fn url_parse<'js>(ctx: Ctx<'js>, input: Text, Opt(base): Opt<Text>) -> Result<Option<Array<'js>>> {
    let base = match base.map(|base| parse(&base.0, None)) {
        Some(None) => return Ok(None),
        base => base.flatten(),
    };
    match parse(&input.0, base.as_ref()) {
        Some(url) => parts(&ctx, &url).map(Some),
        None => Ok(None),
    }
}

/// The parser of the crate `url`, with two of the specification's rules that it does not know.
fn parse(input: &str, base: Option<&Url>) -> Option<Url> {
    // Against a base of a special scheme, any number of slashes introduces the host.
    if let Some(scheme) = base.map(Url::scheme).filter(|scheme| matches!(*scheme, "http" | "https" | "ws" | "wss" | "ftp")) {
        let mut chars = input.trim_start_matches(|c| c <= ' ').chars().filter(|c| !matches!(c, '\t' | '\n' | '\r'));
        if chars.by_ref().take(2).filter(|c| matches!(c, '/' | '\\')).count() == 2 {
            return Url::parse(&format!("{scheme}:{}", input.trim_start_matches(|c| c <= ' '))).ok();
        }
    }
    let mut url = Url::options().base_url(base).parse(input).ok()?;
    // A drive letter at the start of a file's path takes a colon.
    if url.scheme() == "file"
        && let [b'/', letter, b'|', rest @ ..] = url.path().as_bytes()
        && letter.is_ascii_alphabetic()
        && matches!(rest.first(), None | Some(b'/'))
    {
        let path = url.path().replacen('|', ":", 1);
        url.set_path(&path);
    }
    Some(url)
}

/// Runs the setter `name` of the URL whose serialisation is `href`. `undefined` if the setter leaves it as it is.
fn url_set<'js>(ctx: Ctx<'js>, href: Text, name: JsString<'js>, value: Text) -> Result<Option<Array<'js>>> {
    match parse(&href.0, None).and_then(|url| set(url, &name.to_string().ok()?, &value.0)) {
        Some(url) if url.as_str() != href.0 => parts(&ctx, &url).map(Some),
        _ => Ok(None),
    }
}

/// The URL after its setter `name`, `None` if the setter refuses the value.
fn set(mut url: Url, name: &str, value: &str) -> Option<Url> {
    match name {
        "protocol" => quirks::set_protocol(&mut url, value).ok()?,
        "username" => quirks::set_username(&mut url, value).ok()?,
        "password" => quirks::set_password(&mut url, value).ok()?,
        "host" => quirks::set_host(&mut url, value).ok()?,
        "hostname" => quirks::set_hostname(&mut url, value).ok()?,
        "port" => quirks::set_port(&mut url, value).ok()?,
        "pathname" => quirks::set_pathname(&mut url, value),
        "search" => quirks::set_search(&mut url, value),
        "hash" => quirks::set_hash(&mut url, value),
        _ => return None,
    }
    // A path that starts with two slashes must not read as a host: `/.` stands before it.
    let rest = &url.as_str()[url.scheme().len() + 1..];
    let whole = match !url.has_host() && url.path().starts_with("//") && rest.starts_with(url.path()) {
        true => format!("{}:/.{rest}", url.scheme()),
        false => url.as_str().to_owned(),
    };
    // The serialisation is the state: what does not parse to itself is refused.
    parse(&whole, None).filter(|url| url.as_str() == whole)
}

/// A URL as a list: its serialisation, then where its parts are in it, as in
///
/// ```text
/// https://user:pass@example.com:1234/foo/bar?baz#quux
///       |  |   |    |          |    |       |   |
///       1  2   3    4          5    6       7   8
/// ```
///
/// 1 end of the scheme (before the colon), 2 start and 3 end of the user name, 4 start and 5 end of the host,
/// 6 start of the path, 7 start of the query, 8 start of the fragment. A part that is absent is empty. The
/// serialisation is ASCII, so bytes and UTF-16 units agree.
fn parts<'js>(ctx: &Ctx<'js>, url: &Url) -> Result<Array<'js>> {
    let at = |position: Position| url[..position].len();
    let result = list(ctx)?;
    result.set(0, url.as_str())?;
    let offsets = [
        at(Position::AfterScheme),
        at(Position::BeforeUsername),
        at(Position::AfterUsername),
        at(Position::BeforeHost),
        at(Position::AfterHost),
        at(Position::BeforePath),
        at(Position::AfterPath),
        at(Position::AfterQuery),
    ];
    for (index, offset) in offsets.into_iter().enumerate() {
        result.set(index + 1, offset as f64)?;
    }
    Ok(result)
}

/// The serialised origin of the URL whose serialisation is `href`.
fn url_origin(href: Text) -> String {
    Url::parse(&href.0).map_or_else(|_| "null".to_owned(), |url| quirks::origin(&url))
}

/// The names and values of an `application/x-www-form-urlencoded` text, alternating in one list.
fn form_parse<'js>(ctx: Ctx<'js>, text: Text) -> Result<Array<'js>> {
    let result = list(&ctx)?;
    let pairs = form_urlencoded::parse(text.0.as_bytes());
    for (index, part) in pairs.flat_map(|(name, value)| [name, value]).enumerate() {
        result.set(index, part.as_ref())?;
    }
    Ok(result)
}

/// The inverse of [`form_parse`].
fn form_serialize<'js>(ctx: Ctx<'js>, list: Array<'js>) -> Result<String> {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for index in (0..list.len()).step_by(2) {
        let name = Text::from_js(&ctx, list.get(index)?)?;
        let value = Text::from_js(&ctx, list.get(index + 1)?)?;
        out.append_pair(&name.0, &value.0);
    }
    Ok(out.finish())
}

// ---------------------------------------------------------------------------------------------------
// Inspection
// ---------------------------------------------------------------------------------------------------

/// A string literal for `text`: single quotes, or double quotes or backticks if that saves an escape.
fn quote(text: Raw<'_>) -> String {
    quote_bytes(text.bytes())
}

/// A property name as it stands in an object literal: bare if it is an ASCII identifier, else quoted.
fn key<'js>(ctx: Ctx<'js>, name: JsString<'js>) -> Result<Value<'js>> {
    let raw = Raw::from_js(&ctx, name.clone().into_value())?;
    let bytes = raw.bytes();
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    match bytes.first() {
        Some(&first) if is_start(first) && bytes.iter().all(|&byte| is_start(byte) || byte.is_ascii_digit()) => {
            Ok(name.into_value())
        }
        _ => quote_bytes(bytes).into_js(&ctx),
    }
}

const INFALLIBLE: &str = "writing to a String does not fail";

fn quote_bytes(bytes: &[u8]) -> String {
    let has = |byte: u8| bytes.contains(&byte);
    let mark = match (has(b'\''), has(b'"'), has(b'`') || bytes.windows(2).any(|pair| pair == b"${")) {
        (true, false, _) => '"',
        (true, true, false) => '`',
        _ => '\'',
    };
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(mark);
    let mut rest = bytes;
    while !rest.is_empty() {
        let valid = match std::str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).expect("UTF-8 up to here"),
        };
        for c in valid.chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\u{8}' => out.push_str("\\b"),
                '\u{C}' => out.push_str("\\f"),
                '\\' => out.push_str("\\\\"),
                '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' => write!(out, "\\x{:02X}", u32::from(c)).expect(INFALLIBLE),
                c if c == mark => {
                    out.push('\\');
                    out.push(c);
                }
                c => out.push(c),
            }
        }
        rest = &rest[valid.len()..];
        // What is not UTF-8 here is a lone surrogate: 1110_1101 10yy_yyyy 10xx_xxxx.
        if let [0xED, second, third, ..] = *rest {
            let unit = 0xD000 | u32::from(second & 0x3F) << 6 | u32::from(third & 0x3F);
            write!(out, "\\u{unit:04x}").expect(INFALLIBLE);
        }
        rest = &rest[rest.len().min(3)..];
    }
    out.push(mark);
    out
}

/// How many columns of a terminal `text` takes: none for a combining mark, two for a wide character.
fn width(text: Text) -> u32 {
    if text.0.is_ascii() {
        return text.0.bytes().filter(|byte| !byte.is_ascii_control()).count() as u32;
    }
    text.0.chars().map(char_width).sum()
}

fn char_width(c: char) -> u32 {
    match u32::from(c) {
        0x00..=0x1F
        | 0x7F..=0x9F
        | 0x300..=0x36F
        | 0x200B..=0x200F
        | 0x20D0..=0x20FF
        | 0xFE00..=0xFE0F
        | 0xFE20..=0xFE2F
        | 0xE0100..=0xE01EF => 0,
        0x1100..=0x115F
        | 0x231A..=0x231B
        | 0x2329..=0x232A
        | 0x2E80..=0x303E
        | 0x3041..=0x3247
        | 0x3250..=0x4DBF
        | 0x4E00..=0xA4C6
        | 0xA960..=0xA97C
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE10..=0xFE19
        | 0xFE30..=0xFE6B
        | 0xFF01..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1B000..=0x1B2FB
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F6FF
        | 0x1F900..=0x1F9FF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}
