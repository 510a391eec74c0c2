//! What a bundle's realm has beside a script's: ES modules from the host, requests and replies, and bytes without copies in
//! JavaScript.

use crate::abi::{self, Outcome, Reply};
use crate::realm::{Guest, json, thrown, well_formed};
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, Function, IntoJs, Module, Object, Result, String as JsString, Value};
use rquickjs::{Coerced, FromJs, qjs};
use rquickjs::{function::Func, prelude::Opt};
use std::cell::{Cell, RefCell};

const PRELUDE: [(&str, &str); 5] = [
    ("glassbox:base", include_str!("../prelude/bundle/base.js")),
    ("glassbox:kv", include_str!("../prelude/bundle/kv.js")),
    ("glassbox:crypto", include_str!("../prelude/bundle/crypto.js")),
    ("glassbox:ccf", include_str!("../prelude/bundle/ccf.js")),
    (REALM, include_str!("../prelude/bundle/realm.js")),
];

/// The part of the prelude that imports modules.
const REALM: &str = "glassbox:bundle";

/// Garbage is collected when so much has come on top of what modules have left.
const COLLECT_AFTER_BYTES: usize = 4 << 20;

/// Asks for a module's source.
const OP_MODULE: u32 = 31;

/// `import()` of a module is not what we want: it takes one that exports `then` for a promise and calls that. So the prelude
/// imports, under the module's name behind this, a module that only holds the other. No app's module has such a name: theirs begin
/// with a slash.
const HOLDER: &str = "glassbox:holder:";

thread_local! {
    /// The module that could not be had last, and why: `missing`, `unresolved` or `compile`.
    static FAILED: RefCell<(String, &'static str)> = const { RefCell::new((String::new(), "")) };
}

fn failed(name: &str, why: &'static str) {
    FAILED.set((name.to_owned(), why));
}

/// Modules are named by their paths from the root of the bundle.
struct Modules;

impl Resolver for Modules {
    fn resolve<'js>(&mut self, ctx: &Ctx<'js>, base: &str, name: &str, _: Option<ImportAttributes<'js>>) -> Result<String> {
        if base == REALM && name.starts_with(HOLDER) {
            return Ok(name.into());
        }
        let relative = name.starts_with("./") || name.starts_with("../");
        let mut path: Vec<&str> = if relative { base.split('/').collect() } else { Vec::new() };
        if relative {
            path.pop();
            path.retain(|part| !part.is_empty());
        }
        for part in name.split('/') {
            match part {
                "" | "." => {}
                ".." if path.pop().is_none() => {
                    failed(name, "unresolved");
                    return Err(Exception::throw_reference(
                        ctx,
                        &format!("'{name}' is outside of the bundle, imported by '{base}'"),
                    ));
                }
                ".." => {}
                part => path.push(part),
            }
        }
        Ok(format!("/{}", path.join("/")))
    }
}

impl Loader for Modules {
    fn load<'js>(&mut self, ctx: &Ctx<'js>, name: &str, _: Option<ImportAttributes<'js>>) -> Result<Module<'js, Declared>> {
        if let Some(held) = name.strip_prefix(HOLDER) {
            return Module::declare(ctx.clone(), name, format!("import * as module from {held:?};\nexport {{ module }};"));
        }
        let request = [&(name.len() as u32).to_le_bytes()[..], name.as_bytes()].concat();
        let answer = abi::host(OP_MODULE, &request);
        let Some((0, source)) = answer.split_first() else {
            failed(name, "missing");
            return Err(Exception::throw_reference(ctx, &format!("Module '{name}' could not be loaded")));
        };
        // A module is compiled with what it imports: the cause may lie there.
        Module::declare(ctx.clone(), name, source).inspect_err(|_| {
            if FAILED.with_borrow(|(_, why)| why.is_empty()) {
                failed(name, "compile");
            }
        })
    }
}

impl Guest {
    /// A fresh realm for bundles.
    pub fn bundle() -> Guest {
        Guest::with(&PRELUDE, |_, _| Ok(()), |runtime| runtime.set_loader(Modules, Modules))
    }

    /// Makes the realm what it is for, and evaluates modules with what they import.
    pub fn modules(&self, kind: &str, names: &str) -> Outcome {
        self.begin();
        FAILED.set((String::new(), ""));
        let outcome = self.within(|ctx, entry| {
            let become_: Function = entry.get("become").map_err(|_| thrown(ctx))?;
            become_.call::<_, ()>((kind,)).map_err(|_| thrown(ctx))?;
            let load: Function = entry.get("load").map_err(|_| thrown(ctx))?;
            let promise: Value = load.call((names,)).map_err(|_| thrown(ctx))?;
            self.settle(ctx, entry, promise)?;
            Ok(Outcome::Nothing)
        });
        FAILED.set((String::new(), ""));
        self.collect(COLLECT_AFTER_BYTES);
        outcome
    }

    /// Has a handler answer a request.
    pub fn respond(
        &self,
        module: &str,
        function: &str,
        request: &str,
        body: &[u8],
        state: &str,
        content: Option<&[u8]>,
    ) -> Outcome {
        self.begin();
        VERDICT.with_borrow_mut(|verdict| *verdict = Verdict { metrics: verdict.metrics, ..Verdict::default() });
        self.within(|ctx, entry| {
            let buffer = |bytes: &[u8]| ArrayBuffer::new_copy(ctx.clone(), bytes).map_err(|_| thrown(ctx));
            let body = buffer(body)?;
            let content = content.map(buffer).transpose()?;
            let state = (!state.is_empty()).then_some(state);
            let dispatch: Function = entry.get("dispatch").map_err(|_| thrown(ctx))?;
            let dispatched: Value = dispatch.call((module, function, request, body, content, state)).map_err(|_| thrown(ctx))?;
            if let Some(text) = dispatched.as_string() {
                return Ok(Outcome::Invalid(well_formed(text)));
            }
            let value: Value = dispatched.as_array().expect("a string or an array").get(0).map_err(|_| thrown(ctx))?;
            let value = if value.is_promise() { self.settle(ctx, entry, value)? } else { value };
            let reply = match reply(ctx, value) {
                Ok(Ok(reply)) => reply,
                Ok(Err(what)) => return Ok(Outcome::Invalid(format!("Invalid endpoint function return value ({what})."))),
                Err(_) => return Err(thrown(ctx)),
            };
            // Getters of the reply, and what was not awaited, may have queued jobs.
            self.settle(ctx, entry, Value::new_undefined(ctx.clone()))?;
            let Verdict { apply, metrics, claims } = VERDICT.with_borrow(Clone::clone);
            Ok(Outcome::Reply(Reply { apply, metrics, claims, ..reply }))
        })
    }

    /// Calls an export, with a JSON array of arguments. `shape` of no module asks for the shape of one.
    pub fn invoke(&self, module: &str, function: &str, args: &str) -> Outcome {
        self.begin();
        self.within(|ctx, entry| {
            let value: Value = if function.is_empty() {
                let shape: Function = entry.get("shape").map_err(|_| thrown(ctx))?;
                shape.call((module, args)).map_err(|_| thrown(ctx))?
            } else {
                let invoke: Function = entry.get("invoke").map_err(|_| thrown(ctx))?;
                invoke.call((module, function, args)).map_err(|_| thrown(ctx))?
            };
            let value = self.settle(ctx, entry, value)?;
            json(ctx, value)
        })
    }
}

/// Reads what a handler has returned, or says what is wrong with it.
fn reply<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Result<std::result::Result<Reply, &'static str>> {
    let Some(object) = value.as_object().filter(|_| !value.is_function()) else { return Ok(Err("not an object")) };
    let status: Value = object.get("statusCode")?;
    let status = match (status.as_int(), status.as_float()) {
        _ if status.is_undefined() || status.is_null() => 200,
        (Some(status), _) => status,
        (None, Some(number)) if number.trunc() == number && (100.0..600.0).contains(&number) => number as i32,
        _ => return Ok(Err("status code type")),
    };
    // What is sent has a status between these.
    let Some(status) = u16::try_from(status).ok().filter(|status| (200..600).contains(status)) else {
        return Ok(Err("status code type"));
    };
    let body: Value = object.get("body")?;
    let (kind, body) = if body.is_undefined() {
        (None, Vec::new())
    } else if let Some(text) = body.as_string() {
        (Some("text/plain"), well_formed(text).into_bytes())
    } else if let Some(bytes) = bytes_of(body.clone()) {
        (Some("application/octet-stream"), bytes)
    } else if let Some(bytes) = bytes_of_view(&body)? {
        (Some("application/octet-stream"), bytes)
    } else {
        const WRONG: &str = "error during JSON conversion of body";
        match ctx.json_stringify(body) {
            Ok(Some(text)) => (Some("application/json"), well_formed(&text).into_bytes()),
            Ok(None) => return Ok(Err(WRONG)),
            Err(_) => {
                let _ = ctx.catch();
                return Ok(Err(WRONG));
            }
        }
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    if let Some(kind) = kind {
        headers.push(("content-type".into(), kind.into()));
    }
    let given: Value = object.get("headers")?;
    if !given.is_undefined() && !given.is_null() {
        let Some(given) = given.as_object() else { return Ok(Err("header type")) };
        for pair in given.props::<String, Value>() {
            let (name, value) = pair?;
            let Ok(Coerced(value)) = Coerced::<String>::from_js(ctx, value) else {
                let _ = ctx.catch();
                return Ok(Err("header value type"));
            };
            let name = name.to_lowercase();
            headers.retain(|(known, _)| *known != name);
            headers.push((name, value));
        }
    }
    Ok(Ok(Reply { status, apply: None, metrics: true, claims: Vec::new(), headers, body }))
}

/// What a typed array or a DataView shows of its buffer, copied.
fn bytes_of_view(value: &Value<'_>) -> Result<Option<Vec<u8>>> {
    let Some(object) = value.as_object() else { return Ok(None) };
    // SAFETY: both read the class of a value, nothing else.
    let (typed, class) = unsafe { (qjs::JS_GetTypedArrayType(value.as_raw()), qjs::JS_GetClassID(value.as_raw())) };
    let is_view = typed >= 0 || class == DATA_VIEW.get();
    if !is_view {
        return Ok(None);
    }
    let (buffer, from, len): (Value, usize, usize) =
        (object.get("buffer")?, object.get("byteOffset")?, object.get("byteLength")?);
    let bytes = bytes_of(buffer).unwrap_or_default();
    Ok(Some(bytes.get(from..).and_then(|rest| rest.get(..len)).unwrap_or_default().to_vec()))
}

/// What a request has said of itself.
#[derive(Clone)]
struct Verdict {
    apply: Option<bool>,
    metrics: bool,
    claims: Vec<u8>,
}

impl Default for Verdict {
    fn default() -> Verdict {
        Verdict { apply: None, metrics: true, claims: Vec::new() }
    }
}

thread_local! {
    /// The class of DataViews.
    static DATA_VIEW: Cell<u32> = const { Cell::new(u32::MAX) };
    static VERDICT: RefCell<Verdict> = RefCell::default();
}

/// The content of an ArrayBuffer, copied before any script can run and detach it.
fn bytes_of(value: Value<'_>) -> Option<Vec<u8>> {
    let buffer = ArrayBuffer::from_value(value)?;
    // SAFETY: nothing runs between this and the copy.
    buffer.as_raw().map(|bytes| unsafe { bytes.as_ref() }.to_vec())
}

fn type_error(ctx: &Ctx<'_>, message: &str) -> rquickjs::Error {
    Exception::throw_type(ctx, message)
}

/// The part of a request that comes before its bytes: its text.
fn framed(text: &str, room: usize) -> Vec<u8> {
    let mut request = Vec::with_capacity(4 + text.len() + room);
    request.extend_from_slice(&(text.len() as u32).to_le_bytes());
    request.extend_from_slice(text.as_bytes());
    request
}

/// What the host said: a string, an ArrayBuffer, `undefined`, or a refusal as an array of name and message.
fn answer_of<'js>(ctx: &Ctx<'js>, answer: &[u8]) -> Result<Value<'js>> {
    let (&status, payload) = answer.split_first().unwrap_or((&1, b""));
    match status {
        0 => JsString::from_str(ctx.clone(), &String::from_utf8_lossy(payload))?.into_js(ctx),
        2 => ArrayBuffer::new_copy(ctx.clone(), payload)?.into_js(ctx),
        3 => Ok(Value::new_undefined(ctx.clone())),
        _ => {
            let text = String::from_utf8_lossy(payload);
            text.split('\0').map(str::to_owned).collect::<Vec<_>>().into_js(ctx)
        }
    }
}

/// A refusal is thrown as the error that it names.
fn checked<'js>(ctx: &Ctx<'js>, answer: &[u8]) -> Result<()> {
    if answer.first() != Some(&1) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&answer[1..]);
    let (name, message) = text.split_once('\0').unwrap_or(("Error", ""));
    Err(match name {
        "TypeError" => Exception::throw_type(ctx, message),
        "RangeError" => Exception::throw_range(ctx, message),
        "InternalError" => Exception::throw_internal(ctx, message),
        _ => Exception::throw_message(ctx, message),
    })
}

/// `native.kv(op, state, map, key?, value?)`
fn kv<'js>(
    ctx: Ctx<'js>,
    op: u32,
    state: u32,
    map: JsString<'js>,
    key: Opt<Value<'js>>,
    value: Opt<Value<'js>>,
) -> Result<Value<'js>> {
    let wrong = if value.0.is_some() { "Arguments must be ArrayBuffers" } else { "Argument must be an ArrayBuffer" };
    let buffer = |value: Option<Value<'js>>| match value {
        None => Ok(Vec::new()),
        Some(value) => bytes_of(value).ok_or_else(|| type_error(&ctx, wrong)),
    };
    let (key, value) = (buffer(key.0)?, buffer(value.0)?);
    let mut request = framed(&well_formed(&map), 8 + key.len() + value.len());
    request.extend_from_slice(&state.to_le_bytes());
    request.extend_from_slice(&(key.len() as u32).to_le_bytes());
    request.extend_from_slice(&key);
    request.extend_from_slice(&value);
    let answer = abi::host(op, &request);
    checked(&ctx, &answer)?;
    answer_of(&ctx, &answer)
}

/// `native.entries(op, state, map, bounds?)`: an array of keys and values by turns.
fn entries<'js>(ctx: Ctx<'js>, op: u32, state: u32, map: JsString<'js>, bounds: Opt<Value<'js>>) -> Result<Array<'js>> {
    let mut request = framed(&well_formed(&map), 32);
    request.extend_from_slice(&state.to_le_bytes());
    let bounds = bounds.0.and_then(Value::into_object);
    let bound = |name: &str| -> Result<Option<Vec<u8>>> {
        let Some(bounds) = &bounds else { return Ok(None) };
        let value: Value = bounds.get(name)?;
        if value.is_undefined() || value.is_null() {
            return Ok(None);
        }
        bytes_of(value).map(Some).ok_or_else(|| type_error(&ctx, "Bounds must be ArrayBuffers"))
    };
    let (from, to) = (bound("from")?, bound("to")?);
    let limit: f64 = bounds.as_ref().map_or(Ok(f64::from(u32::MAX)), |bounds| bounds.get("limit"))?;
    let reverse: bool = bounds.as_ref().map_or(Ok(false), |bounds| bounds.get("reverse"))?;
    request.extend_from_slice(&(limit as u32).to_le_bytes());
    request.push(u8::from(reverse) | u8::from(from.is_some()) << 1 | u8::from(to.is_some()) << 2);
    for bound in [from.unwrap_or_default(), to.unwrap_or_default()] {
        request.extend_from_slice(&(bound.len() as u32).to_le_bytes());
        request.extend_from_slice(&bound);
    }
    let answer = abi::host(op, &request);
    checked(&ctx, &answer)?;
    let rows = Array::new(ctx.clone())?;
    let mut rest = answer.get(1..).unwrap_or_default();
    let mut index = 0;
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize).unwrap_or((after, &[]));
        rows.set(index, ArrayBuffer::new_copy(ctx.clone(), bytes)?)?;
        index += 1;
        rest = after;
    }
    Ok(rows)
}

/// `native.ask(op, text, buffers)`
fn ask<'js>(ctx: Ctx<'js>, op: u32, text: JsString<'js>, buffers: Array<'js>) -> Result<Value<'js>> {
    let mut request = framed(&well_formed(&text), 0);
    for buffer in buffers.iter::<Value>() {
        request.extend_from_slice(&bytes_of(buffer?).ok_or_else(|| type_error(&ctx, "Argument must be an ArrayBuffer"))?);
    }
    answer_of(&ctx, &abi::host(op, &request))
}

/// Eight bytes of the host as a number.
fn number(value: Value<'_>) -> Option<f64> {
    let bytes: [u8; 8] = bytes_of(value)?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes) as f64)
}

/// Adds what the prelude of bundles needs.
pub fn register(native: &Object<'_>) -> Result<()> {
    native.set("kv", Func::from(kv))?;
    native.set("entries", Func::from(entries))?;
    native.set("ask", Func::from(ask))?;
    native.set("number", Func::from(number))?;
    native.set("isBuffer", Func::from(|value: Value<'_>| ArrayBuffer::from_value(value).is_some()))?;
    native.set("byteLength", Func::from(|value: Value<'_>| ArrayBuffer::from_value(value).map_or(0, |buffer| buffer.len())))?;
    native.set("toBuffer", Func::from(to_buffer))?;
    native.set(
        "fromBuffer",
        Func::from(|value: Value<'_>| String::from_utf8_lossy(&bytes_of(value).unwrap_or_default()).into_owned()),
    )?;
    let view: Value = native.ctx().eval("new DataView(new ArrayBuffer(0))")?;
    // SAFETY: reads the class of a value, nothing else.
    DATA_VIEW.set(unsafe { qjs::JS_GetClassID(view.as_raw()) });
    let verdict = Object::new(native.ctx().clone())?;
    verdict.set("apply", Func::from(|apply: bool| VERDICT.with_borrow_mut(|verdict| verdict.apply = Some(apply))))?;
    verdict.set(
        "metrics",
        Func::from(|metrics: bool| VERDICT.with_borrow_mut(|verdict| std::mem::replace(&mut verdict.metrics, metrics))),
    )?;
    verdict.set(
        "claims",
        Func::from(|claims: Value<'_>| VERDICT.with_borrow_mut(|verdict| verdict.claims = bytes_of(claims).unwrap_or_default())),
    )?;
    native.set("verdict", verdict)?;
    native.set("copy", Func::from(copy))?;
    native.set("failed", Func::from(|| FAILED.with_borrow(|(name, why)| vec![name.clone(), (*why).to_owned()])))
}

fn to_buffer<'js>(ctx: Ctx<'js>, text: JsString<'js>) -> Result<ArrayBuffer<'js>> {
    ArrayBuffer::new_copy(ctx, well_formed(&text))
}

fn copy<'js>(ctx: Ctx<'js>, value: Value<'js>) -> Result<ArrayBuffer<'js>> {
    ArrayBuffer::new_copy(ctx, bytes_of(value).unwrap_or_default())
}
