//! What a vat's realm has beside a script's: a vat's own world, modules and packages, and deliveries.
//!
//! A delivery is what a realm does thousands of times a second, so the way in and out is short: strings go to the engine and
//! come from it without a detour, and nothing is looked up by its name.
//!
//! Invariant: what boot has made is never visited by the collector (see [`retire`]).

use crate::abi::{self, Outcome};
use crate::memory;
use crate::realm::{Guest, Thrown, json, thrown, well_formed};
use rquickjs::function::Func;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Exception, Function, Module, Object, Promise, Result, TypedArray, Value, qjs};
use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_int};
use std::ptr::NonNull;

/// Each is a function of `native` and `runtime`, as the others' preludes are.
macro_rules! prelude {
    ($($name:literal),*) => {
        &[
            ("glassbox:encoding", include_str!("../prelude/encoding.js")),
            ("glassbox:clone", include_str!("../prelude/clone.js")),
            ("glassbox:inspect", include_str!("../prelude/inspect.js")),
            ("glassbox:format", include_str!("../prelude/format.js")),
            ("glassbox:console", include_str!("../prelude/console.js")),
            $((concat!("glassbox:", $name), include_str!(concat!("../prelude/vats/", $name, ".js")))),*
        ]
    };
}

include!("../prelude/vats/list.rs");

const PRELUDE: &[(&str, &str)] = list!(prelude);

/// Garbage is collected when so much has come on top of what boot has left.
const COLLECT_AFTER_BYTES: usize = 4 << 20;

/// Room in the base image that the allocators use before the memory grows: a small vat never makes it grow.
const ROOM_BYTES: usize = 1 << 20;

/// Asks for a module's source.
const OP_MODULE: u32 = 31;
/// Asks for the one path of a module whose name may lack `.js` or `/index.js`.
const OP_PATH: u32 = 32;

/// A question above this size gives its room back.
const KEEP_QUESTION_BYTES: usize = 64 << 10;

/// A module that only holds another, as in `bundle.rs`: a namespace that exports `then` must not be taken for a promise.
const HOLDER: &str = "glassbox:holder:";

thread_local! {
    /// The entry's `deliver`, held for ever.
    static DELIVER: Cell<Option<qjs::JSValue>> = const { Cell::new(None) };
    /// Where a question is put together.
    static QUESTION: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Packages of the runtime, by name.
    static PACKAGES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// Promises that were rejected in this delivery, and why, while nobody handles them.
    static REJECTED: RefCell<Vec<(qjs::JSValue, qjs::JSValue)>> = const { RefCell::new(Vec::new()) };
}

/// Modules are named by their paths from the root of the vat's directory, packages by their own names. A module has one name,
/// however it is imported: it is evaluated once.
struct Modules;

fn ask(op: u32, text: &str) -> Vec<u8> {
    abi::host(op, &[&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat())
}

fn path_of(name: String) -> String {
    match ask(OP_PATH, &name).split_first() {
        Some((0, path)) => String::from_utf8_lossy(path).into_owned(),
        _ => name,
    }
}

/// How vats import those that come with the kernel, which has their sources.
const BUILTIN: &str = "@agoric/swingset-vat/src/vats/";

impl Resolver for Modules {
    fn resolve<'js>(&mut self, ctx: &Ctx<'js>, base: &str, name: &str, _: Option<ImportAttributes<'js>>) -> Result<String> {
        if PACKAGES.with_borrow(|packages| packages.iter().any(|package| package == name)) {
            return Ok(name.into());
        }
        // No module of a vat has such a name: theirs begin with a slash.
        if name.starts_with(HOLDER) && !base.starts_with('/') {
            return Ok(name.into());
        }
        if base.starts_with(HOLDER) {
            return Ok(name.into());
        }
        if name.starts_with(BUILTIN) {
            return Ok(path_of(name.into()));
        }
        let refused = |what: String| Err(Exception::throw_reference(ctx, &what));
        if !matches!(name.split('/').next(), Some("." | "..")) {
            return refused(format!(
                "Cannot import '{name}' from {base}: only relative files and packages of the runtime can be imported"
            ));
        }
        let mut path: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
        path.pop();
        for part in name.split('/') {
            match part {
                "" | "." => {}
                ".." if path.pop().is_none() => {
                    return refused(format!("Cannot import '{name}' from {base}: it is outside of the vat's directory"));
                }
                ".." => {}
                part => path.push(part),
            }
        }
        Ok(path_of(format!("/{}", path.join("/"))))
    }
}

impl Loader for Modules {
    fn load<'js>(&mut self, ctx: &Ctx<'js>, name: &str, _: Option<ImportAttributes<'js>>) -> Result<Module<'js, Declared>> {
        if let Some(held) = name.strip_prefix(HOLDER) {
            return Module::declare(ctx.clone(), name, format!("import * as module from {held:?};\nexport {{ module }};"));
        }
        let answer = ask(OP_MODULE, name);
        match answer.split_first() {
            Some((0, source)) => Module::declare(ctx.clone(), name, source),
            Some((1, refusal)) => {
                let text = String::from_utf8_lossy(refusal);
                let (kind, message) = text.split_once('\0').unwrap_or(("Error", &text));
                Err(match kind {
                    "SyntaxError" => Exception::throw_syntax(ctx, message),
                    "TypeError" => Exception::throw_type(ctx, message),
                    "ReferenceError" => Exception::throw_reference(ctx, message),
                    _ => Exception::throw_message(ctx, message),
                })
            }
            _ => Err(Exception::throw_reference(ctx, &format!("Module '{name}' could not be loaded"))),
        }
    }
}

impl Guest {
    /// A fresh realm for vats, and for shells beside them.
    pub fn vat() -> Guest {
        let guest = Guest::with(PRELUDE, register, |runtime| {
            runtime.set_loader(Modules, Modules);
            runtime.set_host_promise_rejection_tracker(Some(Box::new(track)));
        });
        guest.within(|ctx, entry| {
            while ctx.execute_pending_job() {}
            forget_rejections(ctx);
            let deliver: Function = entry.get("deliver").map_err(|_| thrown(ctx))?;
            // SAFETY: the reference is kept: it is never freed.
            DELIVER.set(Some(unsafe { qjs::JS_DupValue(ctx.as_raw().as_ptr(), deliver.as_raw()) }));
            Ok(Outcome::Nothing)
        });
        assert!(DELIVER.get().is_some(), "prelude: the entry has a `deliver`");
        guest.collect(COLLECT_AFTER_BYTES);
        guest.within(|ctx, _| {
            retire(ctx);
            Ok(Outcome::Nothing)
        });
        memory::make_room(ROOM_BYTES);
        guest
    }

    /// Makes one delivery: `request` is its kind and then its fields.
    pub fn deliver(&self, request: &[u8]) -> Outcome {
        self.within(|ctx, entry| {
            let mut fields = Fields(request);
            let kind = fields.next().expect("a delivery has a kind");
            let answer = call(ctx, kind, fields)?;
            loop {
                while ctx.execute_pending_job() {}
                if answer.is_promise() {
                    // The host hears of it.
                    track(ctx.clone(), answer.clone(), Value::new_undefined(ctx.clone()), true);
                }
                if REJECTED.with_borrow(Vec::is_empty) {
                    break;
                }
                complain(ctx, entry);
            }
            // A vat that was refused memory may have lost anything; it cannot go on, whatever it made of the error.
            if memory::was_refused() {
                return Ok(memory::exhausted(String::new()));
            }
            let answer = match answer.as_promise() {
                None => answer,
                Some(promise) => outcome_of(ctx, promise, kind)?,
            };
            match answer.as_string() {
                Some(text) => Ok(Outcome::Value(well_formed(text))),
                None if answer.is_undefined() => Ok(Outcome::Nothing),
                None => json(ctx, answer),
            }
        })
    }
}

/// The fields of a request.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        self.0 = rest;
        Some(field)
    }
}

/// `entry.deliver(kind, [fields...])`
fn call<'js>(ctx: &Ctx<'js>, kind: &[u8], fields: Fields) -> std::result::Result<Value<'js>, Thrown<'js>> {
    let raw = ctx.as_raw().as_ptr();
    // SAFETY: the engine copies the bytes, which the host sends as UTF-8.
    let text = |bytes: &[u8]| unsafe { qjs::JS_NewStringLen(raw, bytes.as_ptr().cast(), bytes.len() as _) };
    let strings: Vec<qjs::JSValue> = fields.map(text).collect();
    let deliver = DELIVER.get().expect("set when the realm has booted");
    // SAFETY: the array takes the strings over; the call borrows its arguments, which are freed after it; its value is ours. An
    // exception among the strings only comes with memory that was refused, which ends the vat.
    let value = unsafe {
        let list = qjs::JS_NewArrayFrom(raw, strings.len() as c_int, strings.as_ptr());
        let mut args = [text(kind), list];
        let value = qjs::JS_Call(raw, deliver, qjs::JS_UNDEFINED, 2, args.as_mut_ptr());
        for arg in args {
            qjs::JS_FreeValue(raw, arg);
        }
        Value::from_raw(ctx.clone(), value)
    };
    if value.is_exception() { Err(thrown(ctx)) } else { Ok(value) }
}

fn outcome_of<'js>(ctx: &Ctx<'js>, promise: &Promise<'js>, kind: &[u8]) -> std::result::Result<Value<'js>, Thrown<'js>> {
    match promise.state() {
        PromiseState::Resolved => promise.result::<Value>().expect("it is resolved").map_err(|_| thrown(ctx)),
        PromiseState::Rejected => Err(match promise.result::<Value>().expect("it is rejected") {
            Ok(value) => Thrown::Value(value),
            Err(_) => thrown(ctx),
        }),
        PromiseState::Pending if kind == b"startVat" => {
            let error = Exception::from_message(ctx.clone(), "buildRootObject unresolved").map_err(|_| thrown(ctx))?;
            error.as_object().set("name", "NeverSettlesError").map_err(|_| thrown(ctx))?;
            error.as_object().set("stack", "").map_err(|_| thrown(ctx))?;
            Err(Thrown::Value(error.into_value()))
        }
        PromiseState::Pending => Err(Thrown::NeverSettles),
    }
}

/// A promise was rejected and has no handler, or has one after all.
fn track<'js>(ctx: Ctx<'js>, promise: Value<'js>, reason: Value<'js>, handled: bool) {
    let raw = ctx.as_raw().as_ptr();
    // SAFETY: what is listed holds a reference, which is given back when it is taken from the list.
    REJECTED.with_borrow_mut(|rejected| unsafe {
        if !handled {
            rejected.push((qjs::JS_DupValue(raw, promise.as_raw()), qjs::JS_DupValue(raw, reason.as_raw())));
            return;
        }
        let place = |value: qjs::JSValue| qjs::JS_VALUE_GET_PTR(value);
        if let Some(at) = rejected.iter().position(|(known, _)| place(*known) == place(promise.as_raw())) {
            let (promise, reason) = rejected.remove(at);
            qjs::JS_FreeValue(raw, promise);
            qjs::JS_FreeValue(raw, reason);
        }
    });
}

fn forget_rejections(ctx: &Ctx<'_>) {
    for (promise, reason) in REJECTED.take() {
        // SAFETY: the references that `track` has taken.
        unsafe {
            qjs::JS_FreeValue(ctx.as_raw().as_ptr(), promise);
            qjs::JS_FreeValue(ctx.as_raw().as_ptr(), reason);
        }
    }
}

/// A line on the console for each rejection that nobody has handled in this delivery.
fn complain<'js>(ctx: &Ctx<'js>, entry: &Object<'js>) {
    for (promise, reason) in REJECTED.take() {
        // SAFETY: both take over the references that `track` has taken.
        let (_promise, reason) = unsafe { (Value::from_raw(ctx.clone(), promise), Value::from_raw(ctx.clone(), reason)) };
        if entry.get::<_, Function>("complain").and_then(|complain| complain.call::<_, ()>((reason,))).is_err() {
            // Out of memory or of stack while it was described.
            let _ = ctx.catch();
        }
    }
}

/// Takes what boot has made out of the collector's list, so that it never goes through it: a collection costs what the vat
/// has made itself, and writes no page of the base image without need.
///
/// The list is a ring through all objects and one head in the runtime. Without the head it stays a ring, so that objects of
/// boot can be unlinked and freed as ever. The collector then takes all they hold for reachable, which it is but for what boot
/// itself has left in cycles; an object of boot that only a vat's objects hold any more comes into their list when it is met.
fn retire(ctx: &Ctx<'_>) {
    #[repr(C)]
    struct Link {
        prev: *mut Link,
        next: *mut Link,
    }
    // SAFETY: every object begins with its link (`struct JSObject`, `struct JSGCObjectHeader` of the engine, whose version the
    // lock file pins). Of the ring only the head lies in the block of the runtime. Nothing runs meanwhile.
    unsafe {
        let runtime = qjs::JS_GetRuntime(ctx.as_raw().as_ptr());
        let block = runtime as usize..runtime as usize + memory::block_bytes(runtime.cast());
        let mut head: *mut Link = qjs::JS_VALUE_GET_PTR(ctx.globals().as_raw()).cast();
        while !block.contains(&(head as usize)) {
            head = (*head).next;
        }
        let Link { prev, next } = *head;
        (*prev).next = next;
        (*next).prev = prev;
        (*head).prev = head;
        (*head).next = head;
    }
}

/// `native.host(op, text, data?)`, as `host_call` of `realm.rs` is, on a shorter way.
unsafe extern "C" fn host(raw: *mut qjs::JSContext, _: qjs::JSValue, _: c_int, args: *mut qjs::JSValue) -> qjs::JSValue {
    // SAFETY: the engine gives three arguments, `undefined` for those that are missing, as `register` has it.
    let (op, text, data) = unsafe { (*args, *args.add(1), *args.add(2)) };
    // SAFETY: both read the tag of a value, nothing else.
    if unsafe { !qjs::JS_IsInt(op) || !qjs::JS_IsString(text) } {
        // SAFETY: a context in use, and a C string.
        return unsafe { qjs::JS_ThrowTypeError(raw, c"a question is a number and a text".as_ptr()) };
    }
    // SAFETY: reads an integer that is one.
    let op = unsafe { qjs::JS_VALUE_GET_INT(op) } as u32;
    QUESTION.with_borrow_mut(|question| {
        question.clear();
        question.extend_from_slice(&[0; 4]);
        if append(raw, text, question).is_none() {
            return qjs::JS_EXCEPTION;
        }
        let len = question.len() as u32 - 4;
        question[..4].copy_from_slice(&len.to_le_bytes());
        // SAFETY: reads the tag of a value, nothing else.
        if unsafe { qjs::JS_IsString(data) } {
            if append(raw, data, question).is_none() {
                return qjs::JS_EXCEPTION;
            }
        // SAFETY: reads the tag of a value, nothing else.
        } else if unsafe { qjs::JS_IsObject(data) } {
            // SAFETY: a context in use; the argument is borrowed, and its reference given back with `data`.
            let data = unsafe {
                let ctx = Ctx::from_raw(NonNull::new_unchecked(raw));
                Value::from_raw(ctx, qjs::JS_DupValue(raw, data))
            };
            if let Ok(array) = TypedArray::<u8>::from_value(data) {
                // SAFETY: the slice is copied before any script can run and detach or resize the buffer.
                question.extend_from_slice(unsafe { array.as_bytes() }.unwrap_or_default());
            }
        }
        let answer = abi::host(op, question);
        if question.capacity() > KEEP_QUESTION_BYTES {
            *question = Vec::new();
        }
        let (&status, payload) = answer.split_first().unwrap_or((&1, b""));
        // SAFETY: a context in use; the engine copies the bytes.
        let string = |bytes: &[u8]| unsafe { qjs::JS_NewStringLen(raw, bytes.as_ptr().cast(), bytes.len() as _) };
        match status {
            0 => string(payload),
            // SAFETY: a context in use; the engine copies the bytes.
            2 => unsafe { qjs::JS_NewUint8ArrayCopy(raw, payload.as_ptr(), payload.len() as _) },
            3 => qjs::JS_UNDEFINED,
            _ => {
                let words: Vec<qjs::JSValue> = payload.split(|&byte| byte == 0).map(string).collect();
                // SAFETY: the array takes the strings over.
                unsafe { qjs::JS_NewArrayFrom(raw, words.len() as c_int, words.as_ptr()) }
            }
        }
    })
}

/// Appends the text of a string; a lone surrogate becomes U+FFFD, since UTF-8 has no word for it.
fn append(raw: *mut qjs::JSContext, string: qjs::JSValue, out: &mut Vec<u8>) -> Option<()> {
    let mut len = 0;
    let start = out.len();
    // SAFETY: a context in use and a string; the bytes are copied before they are given back.
    unsafe {
        let bytes = qjs::JS_ToCStringLen2(raw, &mut len, string, false);
        if bytes.is_null() {
            return None;
        }
        out.extend_from_slice(std::slice::from_raw_parts(bytes.cast(), len as usize));
        qjs::JS_FreeCString(raw, bytes);
    }
    let mut from = start;
    while let Err(error) = std::str::from_utf8(&out[from..]) {
        // The engine writes a lone surrogate in three bytes, as if it were a character.
        from += error.valid_up_to();
        out[from..from + 3].copy_from_slice("\u{FFFD}".as_bytes());
        from += 3;
    }
    Some(())
}

/// `native.provide(name, names, values, now)`: from now on `name` can be imported, with these exports. Their values are read
/// now, or when a vat imports it first.
fn provide<'js>(ctx: Ctx<'js>, name: String, names: Vec<String>, values: Object<'js>, now: bool) -> Result<()> {
    let raw = ctx.as_raw().as_ptr();
    let text = |text: &str| CString::new(text).map_err(|_| Exception::throw_type(&ctx, "a name with a NUL character"));
    // SAFETY: a context in use and C strings; the module takes over the reference to what it exports, and lives as long as the
    // context. It is not instantiated before it is imported below.
    unsafe {
        let module = qjs::JS_NewCModule(raw, text(&name)?.as_ptr(), Some(fill));
        if module.is_null() {
            return Err(rquickjs::Error::Exception);
        }
        for export in &names {
            qjs::JS_AddModuleExport(raw, module, text(export)?.as_ptr());
        }
        qjs::JS_SetModulePrivateValue(raw, module, qjs::JS_DupValue(raw, values.as_raw()));
    }
    PACKAGES.with_borrow_mut(|packages| packages.push(name.clone()));
    if !now {
        return Ok(());
    }
    let promise = Module::import(&ctx, name)?;
    while ctx.execute_pending_job() {}
    promise.result::<Value>().ok_or_else(|| Exception::throw_type(&ctx, "a package that waits for something"))??;
    Ok(())
}

/// A package is evaluated: its exports get their values.
unsafe extern "C" fn fill(raw: *mut qjs::JSContext, module: *mut qjs::JSModuleDef) -> c_int {
    // SAFETY: the context and the module that is being evaluated, which has an object for its private value.
    let values: Object = unsafe {
        let ctx = Ctx::from_raw(NonNull::new_unchecked(raw));
        Value::from_raw(ctx, qjs::JS_GetModulePrivateValue(raw, module)).into_object().expect("set by `provide`")
    };
    for key in values.keys::<String>() {
        let Ok((key, value)) = key.and_then(|key| values.get::<_, Value>(&key).map(|value| (key, value))) else { return -1 };
        let key = CString::new(key).expect("as in `provide`");
        // SAFETY: as above; the module takes over the reference.
        unsafe { qjs::JS_SetModuleExport(raw, module, key.as_ptr(), qjs::JS_DupValue(raw, value.as_raw())) };
    }
    0
}

/// Adds what the prelude of vats needs.
fn register<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    // SAFETY: a function of the generic kind, whose three arguments the engine makes complete.
    let host = unsafe {
        let generic = qjs::JSCFunctionEnum_JS_CFUNC_generic;
        Value::from_raw(ctx.clone(), qjs::JS_NewCFunction2(ctx.as_raw().as_ptr(), Some(host), c"host".as_ptr(), 3, generic, 0))
    };
    native.set("host", host)?;
    native.set("gc", Func::from(|ctx: Ctx<'_>| ctx.run_gc()))?;
    native.set("importModule", Func::from(import_module))?;
    native.set("hidden", "glassbox:")?;
    native.set("provide", Func::from(provide))
}

/// `native.importModule(path)`: a promise of `{ module: namespace }`.
fn import_module<'js>(ctx: Ctx<'js>, path: String) -> Result<Promise<'js>> {
    Module::import(&ctx, format!("{HOLDER}{path}"))
}
