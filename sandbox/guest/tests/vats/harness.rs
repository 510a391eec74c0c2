//! Runs scripts that boot realms of vats and play the kernel to them, all in one process and on the real engine.
//!
//! The script has a global `native`: `boot(host)` makes a realm with a vat's prelude, whose questions go to the function `host`,
//! and returns its entry; `source(path, text)` gives a module to all realms; `runJobs()` runs jobs until none is left;
//! `gc()`, `print(line)`, `now()` in microseconds.

use rquickjs::context::EvalOptions;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::prelude::Func;
use rquickjs::{CatchResultExt, Context, Ctx, Error, Function, Module, Object, Persistent, Result, Runtime, Value, qjs};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

/// In the order of `src/vat.rs`.
pub const PRELUDE: &[&str] = &[
    "lockdown",
    "assert",
    "promise",
    "pass",
    "pass2019",
    "encode",
    "decode",
    "marshal",
    "compartment",
    "exo",
    "guards",
    "patterns",
    "datapackage",
    "packages",
    "slots",
    "bodies",
    "liveslots",
    "devices",
    "setup2019",
    "vatstore",
    "references",
    "keys",
    "states",
    "kinds",
    "collections",
    "weak",
    "watch",
    "vatdata",
    "realm",
    "shell",
];

const MAX_REALMS: usize = 128;
const HOLDER: &str = "holder:";

type Sources = Rc<RefCell<HashMap<String, String>>>;

struct Modules(Sources);

impl Resolver for Modules {
    fn resolve<'js>(&mut self, _: &Ctx<'js>, _: &str, name: &str, _: Option<ImportAttributes<'js>>) -> Result<String> {
        Ok(name.into())
    }
}

impl Loader for Modules {
    fn load<'js>(&mut self, ctx: &Ctx<'js>, name: &str, _: Option<ImportAttributes<'js>>) -> Result<Module<'js, Declared>> {
        if let Some(held) = name.strip_prefix(HOLDER) {
            return Module::declare(ctx.clone(), name, format!("import * as module from {held:?};\nexport {{ module }};"));
        }
        let source = self.0.borrow().get(name).cloned().ok_or_else(|| Error::new_loading(name))?;
        Module::declare(ctx.clone(), name, source)
    }
}

/// Runs a script; what it prints.
pub fn run(prelude: &Path, script: &Path) -> std::result::Result<String, String> {
    let runtime = Runtime::new().expect("runtime");
    runtime.set_max_stack_size(2 << 20);
    runtime.set_gc_threshold(usize::MAX);
    let sources = Sources::default();
    runtime.set_loader(Modules(sources.clone()), Modules(sources.clone()));
    let realms: Vec<Context> = (0..MAX_REALMS).map(|_| Context::full(&runtime).expect("context")).collect();
    let free = Rc::new(RefCell::new(realms.iter().map(|context| context.as_raw()).collect::<Vec<_>>()));
    let out = Rc::new(RefCell::new(String::new()));
    let main = Context::full(&runtime).expect("context");
    let read = |name: &&str| std::fs::read_to_string(prelude.join(format!("{name}.js"))).expect("a file of the prelude");
    let texts: Vec<(String, String)> = PRELUDE.iter().map(|name| ((*name).to_owned(), read(name))).collect();
    main.with(|ctx| {
        let work = || -> Result<()> {
            let native = Object::new(ctx.clone())?;
            let start = Instant::now();
            native.set("now", Func::new(move || start.elapsed().as_secs_f64() * 1e6))?;
            let lines = out.clone();
            native.set(
                "print",
                Func::new(move |line: String| {
                    if std::env::var_os("ECHO").is_some() {
                        println!("{line}");
                    }
                    lines.borrow_mut().push_str(&line);
                    lines.borrow_mut().push('\n');
                }),
            )?;
            native
                .set("source", Func::new(move |path: String, text: String| sources.borrow_mut().insert(path, text).is_some()))?;
            native.set("runJobs", Func::new(|ctx: Ctx| run_jobs(&ctx)))?;
            native.set("gc", Func::new(|ctx: Ctx| collect(&ctx)))?;
            native.set(
                "boot",
                Func::new(move |host: Persistent<Function<'static>>| {
                    let realm = free.borrow_mut().pop().expect("a realm that is left");
                    // SAFETY: `realms` keeps the context to the end of the run.
                    let realm = unsafe { Ctx::from_raw(realm) };
                    let booted = host.restore(&realm).and_then(|host| boot(&realm, host, &texts)).catch(&realm);
                    Persistent::save(&realm, booted.unwrap_or_else(|error| panic!("{error}")))
                }),
            )?;
            ctx.globals().set("native", native)?;
            let text = std::fs::read_to_string(script).expect("the script");
            let mut options = EvalOptions::default();
            options.filename = Some(script.display().to_string());
            ctx.eval_with_options::<(), _>(text, options)
        };
        work().catch(&ctx).map_err(|error| error.to_string())
    })?;
    let text = out.borrow().clone();
    // What the realms refer to goes before them.
    drop(main);
    drop(realms);
    Ok(text)
}

fn boot<'js>(ctx: &Ctx<'js>, host: Function<'js>, texts: &[(String, String)]) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    let runtime = Object::new(ctx.clone())?;
    native.set("host", host)?;
    native.set("gc", Func::new(|ctx: Ctx| collect(&ctx)))?;
    native.set("provide", ctx.eval::<Function, _>("() => {}")?)?;
    native.set("inspect", ctx.eval::<Function, _>("String")?)?;
    native.set("importModule", ctx.eval::<Function, _>(format!("path => import('{HOLDER}' + path)"))?)?;
    let console: Function = ctx.eval(
        "host => { const at = (level) => (...args) => { host(1, level + args.map(String).join(' ')); }; const log = at('1'); globalThis.console = { log, info: log, warn: log, error: log, debug: at('0') }; }",
    )?;
    console.call::<_, ()>((native.get::<_, Value>("host")?,))?;
    let mut entry = Object::new(ctx.clone())?;
    for (name, text) in texts {
        let mut options = EvalOptions::default();
        options.filename = Some(format!("{name}.js"));
        let file: Function = ctx.eval_with_options(text.as_str(), options)?;
        let value: Value = file.call((native.clone(), runtime.clone()))?;
        if name == "shell" {
            entry = value.into_object().expect("the entry");
        }
    }
    // Vats import these from packages; the scripts here have them at hand.
    for name in ["E", "Far"] {
        ctx.globals().set(name, runtime.get::<_, Value>(name)?)?;
    }
    ctx.globals().set("vatData", runtime.get::<_, Value>("dataPackage")?)?;
    ctx.globals().set("M", runtime.get::<_, Object>("patterns")?.get::<_, Value>("M")?)?;
    Ok(entry)
}

/// Jobs of the prelude do not throw, and a vat has no way to queue one that does.
fn run_jobs(ctx: &Ctx<'_>) {
    let mut job_ctx = std::ptr::null_mut();
    loop {
        // SAFETY: the runtime is the one that calls us; `job_ctx` is written before it is read.
        match unsafe { qjs::JS_ExecutePendingJob(qjs::JS_GetRuntime(ctx.as_raw().as_ptr()), &mut job_ctx) } {
            0 => break,
            1.. => {}
            _ => {
                // SAFETY: the context of the job is one of ours.
                let thrown = unsafe { Ctx::from_raw(std::ptr::NonNull::new(job_ctx).expect("a context")) }.catch();
                let error = thrown.as_exception().map_or_else(|| format!("{thrown:?}"), |error| error.to_string());
                panic!("a job has thrown: {error}");
            }
        }
    }
}

fn collect(ctx: &Ctx<'_>) {
    // SAFETY: the runtime is the one that calls us, outside of any allocation.
    unsafe { qjs::JS_RunGC(qjs::JS_GetRuntime(ctx.as_raw().as_ptr())) }
}
