//! Runs scripts that boot realms of vats and play the kernel to them, all in one process and on the real engine; and modules
//! in such a realm itself.
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

macro_rules! prelude {
    ($($name:literal),*) => {
        &[$(($name, include_str!(concat!("../../prelude/vats/", $name, ".js")))),*]
    };
}

include!("../../prelude/vats/list.rs");

const PRELUDE: &[(&str, &str)] = list!(prelude);

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

/// A runtime whose modules are in `Sources`.
fn engine() -> (Runtime, Sources) {
    let runtime = Runtime::new().expect("runtime");
    runtime.set_max_stack_size(2 << 20);
    runtime.set_gc_threshold(usize::MAX);
    let sources = Sources::default();
    runtime.set_loader(Modules(sources.clone()), Modules(sources.clone()));
    (runtime, sources)
}

type Lines = Rc<RefCell<String>>;

fn print<'js>(ctx: &Ctx<'js>, lines: &Lines) -> Result<Function<'js>> {
    let lines = lines.clone();
    Function::new(ctx.clone(), move |line: String| {
        if std::env::var_os("ECHO").is_some() {
            println!("{line}");
        }
        lines.borrow_mut().push_str(&line);
        lines.borrow_mut().push('\n');
    })
}

/// Evaluates a module in a booted realm, with `print` and the prelude's `runtime` as globals; what it prints. It imports others of
/// its folder.
pub fn evaluate(module: &Path) -> std::result::Result<String, String> {
    let (runtime, sources) = engine();
    let folder = module.parent().expect("a folder");
    for file in std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()) {
        if file.extension().is_some_and(|extension| extension == "mjs") {
            let name = format!("./{}", file.file_name().expect("a name").display());
            sources.borrow_mut().insert(name, std::fs::read_to_string(&file).expect("a module"));
        }
    }
    let context = Context::full(&runtime).expect("context");
    let out = Lines::default();
    context.with(|ctx| {
        let work = || -> Result<()> {
            let (_, prelude) = boot(&ctx, Function::new(ctx.clone(), |_: u32, _: String| String::new())?)?;
            ctx.globals().set("runtime", prelude)?;
            ctx.globals().set("print", print(&ctx, &out)?)?;
            let name = module.display().to_string();
            let (_, done) = Module::declare(ctx.clone(), name, std::fs::read_to_string(module).expect("the module"))?.eval()?;
            run_jobs(&ctx);
            done.result::<()>().unwrap_or_else(|| panic!("it waits for ever"))
        };
        work().catch(&ctx).map_err(|error| error.to_string())
    })?;
    Ok(out.take())
}

/// Runs a script; what it prints.
pub fn run(script: &Path) -> std::result::Result<String, String> {
    let (runtime, sources) = engine();
    let realms: Vec<Context> = (0..MAX_REALMS).map(|_| Context::full(&runtime).expect("context")).collect();
    let free = Rc::new(RefCell::new(realms.iter().map(|context| context.as_raw()).collect::<Vec<_>>()));
    let out = Lines::default();
    let main = Context::full(&runtime).expect("context");
    main.with(|ctx| {
        let work = || -> Result<()> {
            let native = Object::new(ctx.clone())?;
            let start = Instant::now();
            native.set("now", Func::new(move || start.elapsed().as_secs_f64() * 1e6))?;
            native.set("print", print(&ctx, &out)?)?;
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
                    let booted = host.restore(&realm).and_then(|host| boot(&realm, host)).catch(&realm);
                    Persistent::save(&realm, booted.unwrap_or_else(|error| panic!("{error}")).0)
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
    // What the realms refer to goes before them.
    drop(main);
    drop(realms);
    Ok(out.take())
}

/// The entry, and `runtime`.
fn boot<'js>(ctx: &Ctx<'js>, host: Function<'js>) -> Result<(Object<'js>, Object<'js>)> {
    let native = Object::new(ctx.clone())?;
    let runtime = Object::new(ctx.clone())?;
    native.set("host", host)?;
    native.set("gc", Func::new(|ctx: Ctx| collect(&ctx)))?;
    native.set("provide", ctx.eval::<Function, _>("() => {}")?)?;
    native.set("inspect", ctx.eval::<Function, _>("String")?)?;
    native.set("importModule", ctx.eval::<Function, _>(format!("path => import('{HOLDER}' + path)"))?)?;
    let console: Function = ctx.eval(
        "host => { const log = (...args) => { host(1, '1' + args.map(String).join(' ')); }; globalThis.console = { log, info: log, warn: log, error: log, debug() {} }; }",
    )?;
    console.call::<_, ()>((native.get::<_, Value>("host")?,))?;
    let mut entry = Object::new(ctx.clone())?;
    for &(name, text) in PRELUDE {
        let mut options = EvalOptions::default();
        options.filename = Some(format!("{name}.js"));
        let file: Function = ctx.eval_with_options(text, options)?;
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
    Ok((entry, runtime))
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
