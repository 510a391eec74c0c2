//! The realm: a QuickJS runtime, the prelude's entry points, and how a piece of work is run until it settles.

use crate::abi::{self, Outcome};
use crate::{bundle, memory, web};
use rquickjs::context::EvalOptions;
use rquickjs::function::Func;
use rquickjs::promise::PromiseState;
use rquickjs::{
    CatchResultExt, Context, Ctx, Exception, FromJs, Function, IntoJs, Module, Object, Persistent, Result, Runtime,
    String as JsString, TypedArray, Value, qjs,
};
use std::cell::Cell;
use std::rc::Rc;

/// Evaluated in this order at boot; each is a function of `native` and `runtime`.
const PRELUDE: [(&str, &str); 9] = [
    ("glassbox:encoding", include_str!("../prelude/encoding.js")),
    ("glassbox:clone", include_str!("../prelude/clone.js")),
    ("glassbox:url", include_str!("../prelude/url.js")),
    ("glassbox:inspect", include_str!("../prelude/inspect.js")),
    ("glassbox:format", include_str!("../prelude/format.js")),
    ("glassbox:console", include_str!("../prelude/console.js")),
    ("glassbox:files", include_str!("../prelude/files.js")),
    ("glassbox:oracle", include_str!("../prelude/oracle.js")),
    ("glassbox:realm", include_str!("../prelude/realm.js")),
];

/// Questions of the guest itself. The others are the prelude's.
const OP_SEED: u32 = 3;
const OP_PLACE: u32 = 4;

/// A result above this size fails the call: it would have to be stored, sent and compared.
const MAX_RESULT_BYTES: usize = 8 << 20;

/// The runtime with what the host needs to drive it.
pub struct Guest {
    runtime: Runtime,
    context: Context,
    entry: Persistent<Object<'static>>,
    random: Rc<Cell<Option<u64>>>,
    tracing: Rc<Cell<bool>>,
}

/// Why a piece of work did not come to a value.
pub(crate) enum Thrown<'js> {
    Value(Value<'js>),
    Syntax(Value<'js>),
    NeverSettles,
}

impl Guest {
    /// A fresh realm for scripts.
    pub fn new() -> Guest {
        Guest::with(&PRELUDE, |_, _| Ok(()), |_| {})
    }

    /// A fresh realm with this prelude, and what it needs of `native` beside the rest.
    pub(crate) fn with(
        prelude: &[(&str, &str)],
        register: impl for<'js> FnOnce(&Ctx<'js>, &Object<'js>) -> Result<()>,
        prepare: impl FnOnce(&Runtime),
    ) -> Guest {
        let runtime = Runtime::new_with_alloc(memory::Bounded).expect("memory for a runtime");
        runtime.set_max_stack_size(512 << 10);
        prepare(&runtime);
        let context = Context::full(&runtime).expect("memory for a context");
        let random = Rc::new(Cell::new(None));
        let tracing = Rc::new(Cell::new(false));
        let entry = context.with(|ctx| {
            let entry =
                boot(&ctx, &random, &tracing, register, prelude).catch(&ctx).unwrap_or_else(|error| panic!("prelude: {error}"));
            Persistent::save(&ctx, entry)
        });
        runtime.run_gc();
        Guest { runtime, context, entry, random, tracing }
    }

    /// Limits what scripts may use from now on.
    pub fn limit(&self, heap_bytes: usize, stack_bytes: usize) {
        memory::limit(heap_bytes);
        self.runtime.set_max_stack_size(stack_bytes);
    }

    /// Evaluates a script, or an ES module if the source is no script, and finds its methods.
    pub fn load(&self, name: &str, source: &str) -> Outcome {
        self.random.set(None);
        self.within(|ctx, entry| {
            let namespace = match compile(ctx, name, source)? {
                Compiled::Script(function) => {
                    // SAFETY: `function` is compiled code of this context; JS_EvalFunction takes it over.
                    let value = unsafe { qjs::JS_EvalFunction(ctx.as_raw().as_ptr(), function) };
                    // SAFETY: a value that the engine just handed to us.
                    let value = unsafe { Value::from_raw(ctx.clone(), value) };
                    if value.is_exception() {
                        return Err(thrown(ctx));
                    }
                    self.settle(ctx, entry, Value::new_undefined(ctx.clone()))?;
                    Value::new_undefined(ctx.clone())
                }
                Compiled::Module => {
                    let module = Module::declare(ctx.clone(), name, source).map_err(|_| thrown(ctx))?;
                    let (module, promise) = module.eval().map_err(|_| thrown(ctx))?;
                    self.settle(ctx, entry, promise.into_value())?;
                    module.namespace().map_err(|_| thrown(ctx))?.into_value()
                }
            };
            let methods: Function = entry.get("methods").map_err(|_| thrown(ctx))?;
            let value: Value = methods.call((namespace,)).map_err(|_| thrown(ctx))?;
            json(ctx, value)
        })
    }

    /// Calls one exported method with a JSON array of arguments. `caller` is a JSON text.
    pub fn call(&self, method: &str, args: &str, caller: &str) -> Outcome {
        self.random.set(None);
        self.within(|ctx, entry| {
            let args = ctx.json_parse(args).map_err(|_| thrown(ctx))?;
            let caller = ctx.json_parse(caller).map_err(|_| thrown(ctx))?;
            let invoke: Function = entry.get("invoke").map_err(|_| thrown(ctx))?;
            let value: Value = invoke.call((method, args, caller)).map_err(|_| thrown(ctx))?;
            let value = self.settle(ctx, entry, value)?;
            let outcome = json(ctx, value)?;
            // `toJSON` may have queued jobs.
            self.settle(ctx, entry, Value::new_undefined(ctx.clone()))?;
            let finish: Function = entry.get("finish").map_err(|_| thrown(ctx))?;
            finish.call::<_, ()>(()).map_err(|_| thrown(ctx))?;
            Ok(outcome)
        })
    }

    /// Evaluates a line of a REPL and formats its value.
    pub fn eval(&self, source: &str) -> Outcome {
        self.random.set(None);
        self.within(|ctx, entry| {
            let mut options = EvalOptions::default();
            options.strict = false;
            options.promise = true;
            options.filename = Some("repl".into());
            let value: Value = ctx.eval_with_options(source, options).map_err(|_| thrown(ctx))?;
            let value = self.settle(ctx, entry, value)?;
            // The engine wraps the completion value, so that a thenable is not awaited by accident.
            let value: Value = match value.as_object() {
                Some(object) => object.get("value").map_err(|_| thrown(ctx))?,
                None => value,
            };
            let value = if value.is_promise() { self.settle(ctx, entry, value)? } else { value };
            if value.is_undefined() {
                return Ok(Outcome::Nothing);
            }
            let inspect: Function = entry.get("inspect").map_err(|_| thrown(ctx))?;
            Ok(Outcome::Value(inspect.call((value,)).map_err(|_| thrown(ctx))?))
        })
    }

    /// Makes this a REPL's realm: a global `client` with these methods (a JSON array), nothing of a backend.
    pub fn connect(&self, methods: &str) -> Outcome {
        self.within(|ctx, entry| {
            let connect: Function = entry.get("connect").map_err(|_| thrown(ctx))?;
            connect.call::<_, ()>((methods,)).map_err(|_| thrown(ctx))?;
            Ok(Outcome::Nothing)
        })
    }

    /// Runs the function of the oracle that is being asked. Only in a fork, in the middle of a call: the context is held
    /// by that call, which never goes on here.
    pub fn oracle(&self) -> Outcome {
        self.random.set(None);
        // SAFETY: the context lives as long as the guest, and the only code that uses it is suspended below us for ever.
        let ctx = unsafe { Ctx::from_raw(self.context.as_raw()) };
        self.guarded(&ctx, |ctx, entry| {
            let ask: Function = entry.get("consult").map_err(|_| thrown(ctx))?;
            let value: Value = ask.call(()).map_err(|_| thrown(ctx))?;
            let value = self.settle(ctx, entry, value)?;
            json(ctx, value)
        })
    }

    /// A top-level variable or an export of the script, as JSON.
    pub fn peek(&self, name: &str) -> Outcome {
        self.random.set(None);
        self.within(|ctx, entry| {
            let exported: Function = entry.get("exported").map_err(|_| thrown(ctx))?;
            let mut value: Value = exported.call((name,)).map_err(|_| thrown(ctx))?;
            if value.is_undefined() {
                let mut options = EvalOptions::default();
                options.strict = false;
                options.filename = Some("peek".into());
                value = ctx
                    .eval_with_options(format!("typeof {name} === 'undefined' ? undefined : {name}"), options)
                    .map_err(|_| thrown(ctx))?;
            }
            json(ctx, value)
        })
    }

    /// Collects what is garbage now, and nothing more before this much has come on top: who begins again and again with the
    /// same heap should not collect it again and again.
    pub(crate) fn collect(&self, next_bytes: usize) {
        self.runtime.run_gc();
        self.runtime.set_gc_threshold(memory::used_bytes() + next_bytes);
    }

    /// Forgets the chance of the work before.
    pub(crate) fn begin(&self) {
        self.random.set(None);
    }

    /// From now on every question to the host says first where in the script it is asked.
    pub fn trace(&self) {
        self.tracing.set(true);
    }

    /// Runs work in the context and turns what it throws into a failure.
    pub(crate) fn within(
        &self,
        work: impl for<'js> FnOnce(&Ctx<'js>, &Object<'js>) -> std::result::Result<Outcome, Thrown<'js>>,
    ) -> Outcome {
        self.context.with(|ctx| self.guarded(&ctx, work))
    }

    fn guarded<'js>(
        &self,
        ctx: &Ctx<'js>,
        work: impl FnOnce(&Ctx<'js>, &Object<'js>) -> std::result::Result<Outcome, Thrown<'js>>,
    ) -> Outcome {
        memory::was_refused();
        let entry = self.entry.clone().restore(ctx).expect("saved in this runtime");
        match work(ctx, &entry) {
            Ok(outcome) => outcome,
            Err(Thrown::NeverSettles) => Outcome::Failure {
                name: "NeverSettlesError".into(),
                message: "The promise can never settle: no job and no timer is left that could do it".into(),
                stack: String::new(),
            },
            Err(Thrown::Value(value)) => {
                // The engine throws `null` when nothing is left to make an error of.
                let nothing = value.is_null();
                let [name, message, stack] = describe(ctx, &entry, value);
                let full = nothing || (name == "InternalError" && message == "out of memory");
                if memory::was_refused() && full {
                    return memory::exhausted(stack);
                }
                Outcome::Failure { name, message, stack }
            }
            Err(Thrown::Syntax(value)) => {
                let [name, message, stack] = describe(ctx, &entry, value);
                Outcome::Refused { name, message, stack }
            }
        }
    }

    /// Runs jobs, then timers in the order of their time, until `value` has settled and no job is left.
    pub(crate) fn settle<'js>(
        &self,
        ctx: &Ctx<'js>,
        entry: &Object<'js>,
        value: Value<'js>,
    ) -> std::result::Result<Value<'js>, Thrown<'js>> {
        loop {
            while ctx.execute_pending_job() {}
            let Some(promise) = value.as_promise() else { return Ok(value) };
            match promise.state() {
                PromiseState::Resolved => {
                    return promise.result::<Value>().expect("it is resolved").map_err(|_| thrown(ctx));
                }
                PromiseState::Rejected => {
                    return match promise.result::<Value>().expect("it is rejected") {
                        Ok(value) => Err(Thrown::Value(value)),
                        Err(_) => Err(thrown(ctx)),
                    };
                }
                PromiseState::Pending => {
                    let tick: Function = entry.get("tick").map_err(|_| thrown(ctx))?;
                    if !tick.call::<_, bool>(()).map_err(|_| thrown(ctx))? {
                        return Err(Thrown::NeverSettles);
                    }
                }
            }
        }
    }
}

impl Default for Guest {
    fn default() -> Self {
        Guest::new()
    }
}

pub(crate) fn thrown<'js>(ctx: &Ctx<'js>) -> Thrown<'js> {
    Thrown::Value(ctx.catch())
}

enum Compiled {
    Script(qjs::JSValue),
    Module,
}

/// Compiles a source without running it: as a script first, since that is what the old backends are, else as a module.
fn compile<'js>(ctx: &Ctx<'js>, name: &str, source: &str) -> std::result::Result<Compiled, Thrown<'js>> {
    let attempt = |kind: u32| {
        let c_name = std::ffi::CString::new(name.replace('\0', "")).expect("no NUL is left");
        let c_source = std::ffi::CString::new(source).map_err(|_| {
            Thrown::Value(
                Exception::from_message(ctx.clone(), "The source contains a NUL character")
                    .map(|exception| exception.into_value())
                    .unwrap_or_else(|_| ctx.catch()),
            )
        })?;
        // SAFETY: both strings live through the call and the length excludes the terminator, as the engine wants it.
        let value = unsafe {
            qjs::JS_Eval(
                ctx.as_raw().as_ptr(),
                c_source.as_ptr(),
                source.len() as _,
                c_name.as_ptr(),
                (kind | qjs::JS_EVAL_FLAG_COMPILE_ONLY) as i32,
            )
        };
        // SAFETY: reads the tag of a value, nothing else.
        if unsafe { qjs::JS_IsException(value) } { Err(Thrown::Syntax(ctx.catch())) } else { Ok(value) }
    };
    match attempt(qjs::JS_EVAL_TYPE_GLOBAL) {
        Ok(function) => Ok(Compiled::Script(function)),
        Err(as_script) => match attempt(qjs::JS_EVAL_TYPE_MODULE) {
            Ok(module) => {
                // SAFETY: we own the reference; `Module::declare` compiles it once more.
                unsafe { qjs::JS_FreeValue(ctx.as_raw().as_ptr(), module) };
                Ok(Compiled::Module)
            }
            Err(as_module) if looks_like_a_module(source) => Err(as_module),
            Err(_) => Err(as_script),
        },
    }
}

fn looks_like_a_module(source: &str) -> bool {
    source.lines().any(|line| {
        let line = line.trim_start();
        ["import ", "import{", "export ", "export{"].iter().any(|word| line.starts_with(word))
    })
}

pub(crate) fn json<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> std::result::Result<Outcome, Thrown<'js>> {
    let Some(text) = ctx.json_stringify(value).map_err(|_| thrown(ctx))? else { return Ok(Outcome::Nothing) };
    let text = well_formed(&text);
    if text.len() > MAX_RESULT_BYTES {
        let error = Exception::from_message(
            ctx.clone(),
            &format!("The result takes {} bytes of JSON; the limit is {MAX_RESULT_BYTES}", text.len()),
        )
        .map_err(|_| thrown(ctx))?;
        error.as_object().set("name", "ResultTooLargeError").map_err(|_| thrown(ctx))?;
        return Err(Thrown::Value(error.into_value()));
    }
    Ok(Outcome::Value(text))
}

/// The text of a JavaScript string; a lone surrogate becomes U+FFFD, since UTF-8 has no word for it.
pub(crate) fn well_formed(text: &JsString) -> String {
    text.to_string().unwrap_or_else(|_| {
        let lossy = text.as_value().ctx().globals().get::<_, Object>("String").and_then(|constructor| {
            let prototype: Object = constructor.get("prototype")?;
            let method: Function = prototype.get("toWellFormed")?;
            method.call::<_, String>((rquickjs::function::This(text.clone()),))
        });
        lossy.unwrap_or_default()
    })
}

/// Name, message and stack of what was thrown, in the prelude's words: it trusts no property of the value.
pub(crate) fn describe<'js>(ctx: &Ctx<'js>, entry: &Object<'js>, value: Value<'js>) -> [String; 3] {
    let words = entry
        .get::<_, Function>("describe")
        .and_then(|describe| describe.call::<_, Vec<String>>((value,)))
        .ok()
        .and_then(|words| <[String; 3]>::try_from(words).ok());
    words.unwrap_or_else(|| {
        // Out of memory or of stack while it was described.
        let _ = ctx.catch();
        ["InternalError".into(), "out of memory".into(), String::new()]
    })
}

/// Evaluates the prelude; what the last file returns are the entry points. What one before it returns it finds as
/// `runtime.entry`.
fn boot<'js>(
    ctx: &Ctx<'js>,
    random: &Rc<Cell<Option<u64>>>,
    tracing: &Rc<Cell<bool>>,
    register: impl FnOnce(&Ctx<'js>, &Object<'js>) -> Result<()>,
    prelude: &[(&str, &str)],
) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    web::register(ctx, &native)?;
    bundle::register(&native)?;

    let state = random.clone();
    let drawn = tracing.clone();
    native.set(
        "random",
        Func::new(move |ctx: Ctx<'js>| {
            if drawn.get() && state.get().is_none() {
                say_place(&ctx);
            }
            next_random(&state)
        }),
    )?;
    let asked = tracing.clone();
    native.set(
        "host",
        Func::new(move |ctx: Ctx<'js>, op: u32, text: JsString<'js>, data: rquickjs::prelude::Opt<Value<'js>>| {
            if asked.get() {
                say_place(&ctx);
            }
            host_call(ctx, op, text, data)
        }),
    )?;

    register(ctx, &native)?;

    let runtime = Object::new(ctx.clone())?;
    let mut last = Value::new_undefined(ctx.clone());
    for &(name, source) in prelude {
        if !last.is_undefined() {
            runtime.set("entry", last)?;
        }
        let mut options = EvalOptions::default();
        options.filename = Some(name.into());
        let function: Function = ctx.eval_with_options(source, options)?;
        last = function.call((native.clone(), runtime.clone()))?;
    }
    Object::from_js(ctx, last)
}

/// Tells the host where in the script the next question is asked. It hears of it before the stack is looked for, too, since
/// that is no work of the script.
fn say_place(ctx: &Ctx<'_>) {
    abi::host(OP_PLACE, &0u32.to_le_bytes());
    let place = Exception::from_message(ctx.clone(), "").ok().and_then(|exception| exception.stack());
    abi::host(OP_PLACE, &[&0u32.to_le_bytes()[..], place.unwrap_or_default().as_bytes()].concat());
}

/// splitmix64, scaled to [0, 1) with 53 bits as JavaScript wants it. It spreads any seed, zero too. A call that never draws
/// never asks for a seed.
fn next_random(state: &Cell<Option<u64>>) -> f64 {
    let seed = state.get().unwrap_or_else(|| match abi::host(OP_SEED, &0u32.to_le_bytes()).get(1..9) {
        Some(seed) => u64::from_le_bytes(seed.try_into().expect("8 bytes")),
        None => 0,
    });
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state.set(Some(z));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// `native.host(op, text, data?)`, where `data` is a string or a Uint8Array. The host's first byte says what comes back:
/// 0 a string, 2 bytes, 3 `undefined`, else a refusal: an array of name and message.
fn host_call<'js>(ctx: Ctx<'js>, op: u32, text: JsString<'js>, data: rquickjs::prelude::Opt<Value<'js>>) -> Result<Value<'js>> {
    let text = well_formed(&text);
    let mut request = Vec::with_capacity(text.len() + 4);
    request.extend_from_slice(&(text.len() as u32).to_le_bytes());
    request.extend_from_slice(text.as_bytes());
    let data = data.0.unwrap_or_else(|| Value::new_undefined(ctx.clone()));
    if let Some(text) = data.as_string() {
        request.extend_from_slice(well_formed(text).as_bytes());
    } else if let Ok(array) = TypedArray::<u8>::from_value(data) {
        // SAFETY: the slice is copied before any script can run and detach or resize the buffer.
        request.extend_from_slice(unsafe { array.as_bytes() }.unwrap_or_default());
    }
    let answer = abi::host(op, &request);
    let (&status, payload) = answer.split_first().unwrap_or((&1, b""));
    match status {
        0 => JsString::from_str(ctx.clone(), &String::from_utf8_lossy(payload))?.into_js(&ctx),
        2 => TypedArray::<u8>::new_copy(ctx.clone(), payload)?.into_js(&ctx),
        3 => Ok(Value::new_undefined(ctx)),
        _ => {
            // A refusal: `name \0 message`. The prelude knows a refusal by its being an array.
            let text = String::from_utf8_lossy(payload);
            text.split('\0').map(str::to_owned).collect::<Vec<_>>().into_js(&ctx)
        }
    }
}
