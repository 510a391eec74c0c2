//! A realm: one instance of the guest with its heap, and the work it does.

use crate::bundle::{self, Reply};
use crate::heap::{Heap, Image, PAGE_BYTES, Reservations};
use crate::host::{Answer, Consult, Fault, Host, Level, OracleAnswer};
use crate::oracle;
use crate::share::{Attachment, SharedHeap};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};
use wasmtime::{AsContext, Engine, Global, Instance, Linker, Memory, Module, Store, Trap, TypedFunc, Val};

include!("config.rs");

/// What all realms of a process share: the engine, the compiled guest, and the heap of a realm that has just booted.
#[derive(Clone)]
pub struct Sandbox {
    engine: Engine,
    module: Module,
    base: Arc<[u8]>,
    /// The same of a bundle's realm, once one was needed.
    bundles: Arc<OnceLock<Arc<[u8]>>>,
    /// The same of a vat's.
    vats: Arc<OnceLock<(Arc<[u8]>, Image)>>,
    /// In a sandbox of vats, the base as an image that they map.
    pub(crate) image: Option<Image>,
}

/// Bounds of a realm and of one piece of work in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What scripts may allocate, in bytes.
    pub heap_bytes: u32,
    /// What nested calls may take, in bytes of the stack inside the heap.
    pub stack_bytes: u32,
    /// WebAssembly instructions of one piece of work.
    pub instructions: u64,
}

impl Limits {
    /// 256 MiB of heap, 512 KiB of stack, thirty billion instructions (a few seconds of computing).
    pub const DEFAULT: Limits = Limits { heap_bytes: 256 << 20, stack_bytes: 512 << 10, instructions: 30_000_000_000 };
    /// The most that can be set: no call takes longer than some minutes, nobody's auditor waits for ever.
    pub const MAX: Limits = Limits { heap_bytes: 1 << 30, stack_bytes: 1536 << 10, instructions: 1_000_000_000_000 };
    /// The least that can be set.
    pub const MIN: Limits = Limits { heap_bytes: 4 << 20, stack_bytes: 64 << 10, instructions: 1_000_000 };

    /// Whether these limits lie between [`Limits::MIN`] and [`Limits::MAX`].
    pub fn are_allowed(&self) -> bool {
        (Limits::MIN.heap_bytes..=Limits::MAX.heap_bytes).contains(&self.heap_bytes)
            && (Limits::MIN.stack_bytes..=Limits::MAX.stack_bytes).contains(&self.stack_bytes)
            && (Limits::MIN.instructions..=Limits::MAX.instructions).contains(&self.instructions)
    }
}

/// The guest's code, tables and buffers, on top of what scripts may allocate.
const HEADROOM_BYTES: usize = 64 << 20;

/// Thrown by a script or a limit: part of the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `error.name`, or the name of the limit.
    pub name: String,
    /// `error.message`
    pub message: String,
    /// `error.stack`, empty if there is none.
    pub stack: String,
}

/// What a piece of work came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A value, as JSON text. For [`Realm::eval`]: as text for a person.
    Value(String),
    /// `undefined`, a function or a symbol.
    Nothing,
    /// It threw or ran into a limit; the heap is as before.
    Failure(Failure),
    /// The source does not parse; nothing ran.
    Refused(Failure),
    /// What a bundle's handler answers.
    Reply(Reply),
    /// There is no such handler, or what it returned is no response.
    Invalid(String),
}

pub(crate) struct Slot<H> {
    /// Gone only while a realm is made anew.
    host: Option<H>,
    now_us: f64,
    /// What one piece of work may use.
    instructions: u64,
    /// What was left of it when the guest began to look for its place, in a realm that is traced.
    placing: Option<u64>,
    answer: Vec<u8>,
    memory: Option<Memory>,
    fault: Option<Fault>,
    /// To fork the realm for an oracle; a fork itself has none.
    sandbox: Option<Sandbox>,
}

pub(crate) struct Exports {
    pub memory: Memory,
    stack_pointer: Global,
    buffer: TypedFunc<u32, u32>,
    load: TypedFunc<(), u64>,
    call: TypedFunc<(), u64>,
    eval: TypedFunc<(), u64>,
    connect: TypedFunc<(), u64>,
    oracle: TypedFunc<(), u64>,
    peek: TypedFunc<(), u64>,
    pub modules: TypedFunc<(), u64>,
    pub respond: TypedFunc<(), u64>,
    pub invoke: TypedFunc<(), u64>,
    pub deliver: TypedFunc<(), u64>,
    trace: TypedFunc<(), ()>,
    pub limit: TypedFunc<(u32, u32), ()>,
}

/// One JavaScript realm and the host it talks to.
pub struct Realm<H: Host> {
    pub(crate) sandbox: Sandbox,
    pub(crate) limits: Limits,
    // Before the store: the heap must not outlive the memory that it maps.
    pub(crate) heap: Heap,
    pub(crate) store: Store<Slot<H>>,
    pub(crate) exports: Exports,
    stack_base: i32,
    used: u64,
    /// The last piece of work was stopped where it was: the guest is in no state to go on.
    pub(crate) trapped: bool,
}

/// Microseconds that the realm sees while it boots.
const BOOT_TIME_US: f64 = 1_000_000.0;

/// Who is there while a realm boots, and hears why it does not.
#[derive(Default)]
struct Nobody(String);

impl Host for Nobody {
    fn console(&mut self, _: Level, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
    fn ask(&mut self, _: u32, _: &str, _: &[u8], _: &mut u64) -> Result<Answer, Fault> {
        Ok(Answer::Nothing)
    }
    fn seed(&mut self) -> Result<u64, Fault> {
        Ok(0)
    }
    fn consult(&mut self) -> Result<Consult, Fault> {
        Err(Fault("nobody asks while a realm boots".into()))
    }
    fn consulted(&mut self, _: &OracleAnswer) {}
}

impl Sandbox {
    /// Starts the engine and boots one realm, to have its heap as the base of all others.
    pub fn new() -> Result<Sandbox, Fault> {
        let error = |e: wasmtime::Error| Fault(format!("the engine does not start: {e:#}"));
        let mut config = engine_config();
        config.with_host_memory(Arc::new(Reservations { max_bytes: Limits::MAX.heap_bytes as usize + HEADROOM_BYTES }));
        let engine = Engine::new(&config).map_err(error)?;
        let code = include_bytes!(concat!(env!("OUT_DIR"), "/guest.cwasm"));
        // SAFETY: these bytes were made by the same version of wasmtime from our module when this crate was built.
        let module = unsafe { Module::deserialize(&engine, code) }.map_err(error)?;
        let base = boot(&engine, &module, "boot")?;
        Ok(Sandbox { engine, module, base, bundles: Arc::default(), vats: Arc::default(), image: None })
    }

    /// The same for bundles, whose realms are others.
    pub fn bundles(&self) -> Result<Sandbox, Fault> {
        let base = match self.bundles.get() {
            Some(base) => base.clone(),
            None => {
                let base = boot(&self.engine, &self.module, "boot_bundle")?;
                self.bundles.get_or_init(|| base).clone()
            }
        };
        Ok(Sandbox { base, image: None, ..self.clone() })
    }

    /// The same for vats, and for shells beside them.
    pub fn vats(&self) -> Result<Sandbox, Fault> {
        let (base, image) = match self.vats.get() {
            Some(vats) => vats.clone(),
            None => {
                let base = boot(&self.engine, &self.module, "boot_vat")?;
                let image = Image::of(&base)?;
                self.vats.get_or_init(|| (base, image)).clone()
            }
        };
        Ok(Sandbox { base, image: Some(image), ..self.clone() })
    }

    /// A page of the heap of a realm that has just booted; zeros behind its end.
    pub fn base_page(&self, index: u32) -> &[u8; PAGE_BYTES] {
        const ZEROS: &[u8; PAGE_BYTES] = &[0; PAGE_BYTES];
        let start = index as usize * PAGE_BYTES;
        self.base.get(start..).and_then(<[u8]>::first_chunk).unwrap_or(ZEROS)
    }

    /// Whether a realm with these limits can have so many bytes of heap.
    pub fn can_hold(&self, limits: Limits, len: usize) -> bool {
        let most = limits.heap_bytes as usize + HEADROOM_BYTES;
        (self.base.len()..=most).contains(&len) && len.is_multiple_of(64 << 10)
    }
}

/// The heap of a realm that has just booted.
fn boot(engine: &Engine, module: &Module, entry: &str) -> Result<Arc<[u8]>, Fault> {
    let error = |e: wasmtime::Error| Fault(format!("a realm does not boot: {e:#}"));
    let (mut store, instance) = instantiate(engine, module, Nobody::default(), None).map_err(error)?;
    store.set_fuel(u64::MAX).map_err(error)?;
    let memory = instance.get_memory(&mut store, "memory").expect("the guest exports its memory");
    write_data(memory.data_mut(&mut store));
    let booted = instance.get_typed_func::<(), ()>(&mut store, entry).and_then(|entry| entry.call(&mut store, ()));
    booted.map_err(|error| {
        let heard = store.data().host.as_ref().map_or("", |nobody| &nobody.0);
        Fault(format!("a realm does not boot: {error:#}: {heard}"))
    })?;
    Ok(memory.data(&store).into())
}

/// Writes the data of the module, which the build took out of it: every realm but one that boots has its memory otherwise.
fn write_data(memory: &mut [u8]) {
    let mut data: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.data"));
    let number = |data: &mut &[u8]| {
        let (number, rest) = data.split_first_chunk::<4>().expect("as the build wrote it");
        *data = rest;
        u32::from_le_bytes(*number) as usize
    };
    while !data.is_empty() {
        let (address, len) = (number(&mut data), number(&mut data));
        let (bytes, rest) = data.split_at(len);
        memory[address..][..len].copy_from_slice(bytes);
        data = rest;
    }
}

fn instantiate<H: Host>(
    engine: &Engine,
    module: &Module,
    host: H,
    sandbox: Option<Sandbox>,
) -> wasmtime::Result<(Store<Slot<H>>, Instance)> {
    let mut linker = Linker::<Slot<H>>::new(engine);
    linker.func_wrap("env", "__rquickjs_host_now_us", |mut caller: wasmtime::Caller<'_, Slot<H>>| {
        let slot = caller.data_mut();
        let host = slot.host.as_mut().expect("a realm has a host");
        if host.is_over() {
            return Err(Trap::Interrupt.into());
        }
        wasmtime::Result::Ok(host.now_us().unwrap_or(slot.now_us))
    })?;
    linker.func_wrap("glassbox", "host", |mut caller: wasmtime::Caller<'_, Slot<H>>, op: u32, ptr: u32, len: u32| {
        let memory = caller.data().memory.expect("set before anything runs");
        let stack = if op == OP_ORACLE { stack_pointer(&mut caller)? } else { 0 };
        if op == OP_PLACE {
            return place(&mut caller, memory, ptr, len);
        }
        let (bytes, slot) = memory.data_and_store_mut(&mut caller);
        let request = bytes.get(ptr as usize..).and_then(|rest| rest.get(..len as usize)).ok_or(Trap::MemoryOutOfBounds)?;
        let mut work = QUESTION_INSTRUCTIONS + BYTE_INSTRUCTIONS * request.len() as u64;
        let answer = match op {
            OP_ORACLE => consult(slot, bytes, stack),
            _ => answer(slot, op, request, &mut work),
        };
        let slot = caller.data_mut();
        match answer {
            Ok(answer) => {
                encode(answer, &mut slot.answer);
                let len = slot.answer.len();
                work = work.saturating_add(BYTE_INSTRUCTIONS * len as u64);
                let left = caller.get_fuel()?.checked_sub(work).ok_or(Trap::OutOfFuel)?;
                caller.set_fuel(left)?;
                Ok(len as u32)
            }
            Err(fault) => {
                slot.fault = Some(fault);
                Err(Trap::UnreachableCodeReached.into())
            }
        }
    })?;
    linker.func_wrap("glassbox", "take", |mut caller: wasmtime::Caller<'_, Slot<H>>, ptr: u32| {
        let memory = caller.data().memory.expect("set before anything runs");
        let (bytes, slot) = memory.data_and_store_mut(&mut caller);
        let answer = std::mem::take(&mut slot.answer);
        let room = bytes.get_mut(ptr as usize..).and_then(|rest| rest.get_mut(..answer.len()));
        room.ok_or(Trap::MemoryOutOfBounds)?.copy_from_slice(&answer);
        wasmtime::Result::Ok(())
    })?;
    let slot = Slot {
        host: Some(host),
        now_us: BOOT_TIME_US,
        instructions: 0,
        placing: None,
        answer: Vec::new(),
        memory: None,
        fault: None,
        sandbox,
    };
    let mut store = Store::new(engine, slot);
    store.set_fuel(u64::MAX)?;
    let instance = linker.instantiate(&mut store, module)?;
    store.data_mut().memory = instance.get_memory(&mut store, "memory");
    Ok((store, instance))
}

/// What a question costs the call, in instructions: what the host does for a script is no gift, else a loop of questions
/// would take hours.
const QUESTION_INSTRUCTIONS: u64 = 2_000;
/// What each byte costs that goes out or comes back.
const BYTE_INSTRUCTIONS: u64 = 8;

/// Questions that the sandbox answers itself; all others go to the host.
const OP_CONSOLE: u32 = 1;
const OP_ADVANCE: u32 = 2;
const OP_SEED: u32 = 3;
const OP_PLACE: u32 = 4;
const OP_ORACLE: u32 = 5;

/// The guest's stack pointer in the middle of a call.
fn stack_pointer<H: Host>(caller: &mut wasmtime::Caller<'_, Slot<H>>) -> wasmtime::Result<i32> {
    let global = caller.get_export("__stack_pointer").and_then(wasmtime::Extern::into_global);
    Ok(global.expect("the guest exports it").get(caller).unwrap_i32())
}

/// A traced guest says where the next question is asked: once before it looks for its stack, once with it. What it used in
/// between is given back, so that a traced call comes as far as one that is not.
fn place<H: Host>(caller: &mut wasmtime::Caller<'_, Slot<H>>, memory: Memory, ptr: u32, len: u32) -> wasmtime::Result<u32> {
    let left = caller.get_fuel()?;
    let (bytes, slot) = memory.data_and_store_mut(&mut *caller);
    let request = bytes.get(ptr as usize..).and_then(|rest| rest.get(..len as usize)).ok_or(Trap::MemoryOutOfBounds)?;
    slot.answer.clear();
    let Some(left) = slot.placing.take() else {
        slot.placing = Some(left);
        return Ok(0);
    };
    let stack = request.get(4..).and_then(|stack| std::str::from_utf8(stack).ok()).unwrap_or_default();
    let used = slot.instructions.saturating_sub(left);
    slot.host.as_mut().expect("a realm has a host").place(stack, used);
    caller.set_fuel(left)?;
    Ok(0)
}

/// An oracle is asked: what the ledger has, or what its function says in a fork of this realm.
fn consult<H: Host>(slot: &mut Slot<H>, heap: &[u8], stack: i32) -> Result<Answer, Fault> {
    let host = slot.host.as_mut().expect("a realm has a host");
    let answer = match host.consult()? {
        Consult::Recorded(answer) => answer,
        Consult::Run(world) => {
            let sandbox = slot.sandbox.clone().ok_or_else(|| Fault("a fork asks an oracle".into()))?;
            oracle::run(sandbox, heap, stack, world)?
        }
    };
    host.consulted(&answer);
    Ok(Answer::Text(oracle::encode(&answer)))
}

fn answer<H: Host>(slot: &mut Slot<H>, op: u32, request: &[u8], work: &mut u64) -> Result<Answer, Fault> {
    let malformed = || Fault("a malformed request from the guest".into());
    let (len, rest) = request.split_first_chunk::<4>().ok_or_else(malformed)?;
    let (text, data) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let host = slot.host.as_mut().expect("a realm has a host");
    match op {
        OP_CONSOLE => {
            let (level, line) = text.split_at_checked(1).unwrap_or(("1", text));
            let level = match level {
                "0" => Level::Debug,
                "1" => Level::Info,
                "2" => Level::Warn,
                _ => Level::Error,
            };
            host.console(level, line);
            Ok(Answer::Nothing)
        }
        OP_ADVANCE => {
            let ms = text.parse::<f64>().unwrap_or(0.0);
            slot.now_us += ms * 1000.0;
            host.wait(ms);
            Ok(Answer::Nothing)
        }
        OP_SEED => Ok(Answer::Bytes(host.seed()?.to_le_bytes().to_vec())),
        _ => host.ask(op, text, data, work),
    }
}

fn encode(answer: Answer, out: &mut Vec<u8>) {
    out.clear();
    match answer {
        Answer::Text(text) => {
            out.push(0);
            out.extend_from_slice(text.as_bytes());
        }
        Answer::Bytes(bytes) => {
            out.push(2);
            out.extend_from_slice(&bytes);
        }
        Answer::Nothing => out.push(3),
        Answer::Refused { name, message } => {
            out.push(1);
            out.extend_from_slice(name.as_bytes());
            out.push(0);
            out.extend_from_slice(message.replace('\0', "").as_bytes());
        }
    }
}

impl<H: Host> Realm<H> {
    /// A realm that has just booted.
    pub fn new(sandbox: &Sandbox, limits: Limits, host: H) -> Result<Realm<H>, Fault> {
        let mut realm =
            Realm::with_heap(sandbox.clone(), limits, host, sandbox.base.len(), |bytes| bytes.copy_from_slice(&sandbox.base))?;
        let Realm { store, exports, heap, .. } = &mut realm;
        let size = exports.memory.data_size(&*store);
        exports.limit.call(&mut *store, (limits.heap_bytes, limits.stack_bytes)).map_err(|e| Fault(format!("{e:#}")))?;
        heap.commit(size)?;
        Ok(realm)
    }

    /// A realm as it was saved: `len` bytes of heap, of which the pages that differ from [`Sandbox::base_page`].
    pub fn restore(
        sandbox: &Sandbox,
        limits: Limits,
        host: H,
        len: usize,
        pages: impl IntoIterator<Item = (u32, [u8; PAGE_BYTES])>,
    ) -> Result<Realm<H>, Fault> {
        if !sandbox.can_hold(limits, len) {
            return Err(Fault(format!("a saved heap of {len} bytes")));
        }
        let mut outside = None;
        let mut realm = Realm::with_heap(sandbox.clone(), limits, host, len, |bytes| {
            bytes[..sandbox.base.len()].copy_from_slice(&sandbox.base);
            for (index, page) in pages {
                match bytes.get_mut(index as usize * PAGE_BYTES..).and_then(|rest| rest.get_mut(..PAGE_BYTES)) {
                    Some(place) => place.copy_from_slice(&page),
                    None => outside = Some(index),
                }
            }
        })?;
        if let Some(index) = outside {
            return Err(Fault(format!("a saved heap of {len} bytes has no page {index}")));
        }
        realm.heap.mark();
        Ok(realm)
    }

    /// A copy of this realm as it is between two pieces of work. Nothing that the copy does is seen here.
    pub fn fork<F: Host>(&self, host: F) -> Result<Realm<F>, Fault> {
        let bytes = self.exports.memory.data(&self.store);
        Realm::with_heap(self.sandbox.clone(), self.limits, host, bytes.len(), |copy| copy.copy_from_slice(bytes))
    }

    /// A copy of a realm in the middle of a call, to run an oracle's function.
    pub(crate) fn copy(sandbox: Sandbox, limits: Limits, host: H, heap: &[u8], stack: i32) -> Result<Realm<H>, Fault> {
        let mut realm = Realm::with_heap(sandbox, limits, host, heap.len(), |bytes| bytes.copy_from_slice(heap))?;
        realm.stack_base = stack;
        realm.exports.stack_pointer.set(&mut realm.store, Val::I32(stack)).map_err(|e| Fault(format!("stack pointer: {e:#}")))?;
        realm.store.data_mut().sandbox = None;
        Ok(realm)
    }

    /// Runs the oracle's function, in such a copy.
    pub(crate) fn run_oracle(&mut self) -> Result<Outcome, Fault> {
        let worked = self.store.set_fuel(self.limits.instructions).and_then(|()| self.exports.oracle.call(&mut self.store, ()));
        match worked {
            Ok(reply) => read_outcome(self.exports.memory.data(&self.store), reply),
            Err(error) => match self.store.data_mut().fault.take() {
                Some(fault) => Err(fault),
                None => Ok(Outcome::Failure(limit_failure(&error, &self.limits)?)),
            },
        }
    }

    /// Instantiates the guest, lets `fill` write `len` bytes of heap into it, and adopts that.
    pub(crate) fn with_heap(
        sandbox: Sandbox,
        limits: Limits,
        host: H,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Realm<H>, Fault> {
        Realm::with(sandbox, limits, host, len, |memory, store| {
            fill(&mut memory.data_mut(&mut *store)[..len]);
            // SAFETY: the memory of this store, which the realm owns and drops after the heap; it is a `Reservation`, never
            // moves, and only `work` below touches it, through `&mut self`.
            unsafe { Heap::adopt(memory.data_ptr(&*store), memory.data_size(&*store)) }
        })
    }

    /// Instantiates the guest with a memory of `len` bytes, and lets `adopt` fill and adopt it.
    pub(crate) fn with(
        sandbox: Sandbox,
        limits: Limits,
        host: H,
        len: usize,
        adopt: impl FnOnce(Memory, &mut Store<Slot<H>>) -> Result<Heap, Fault>,
    ) -> Result<Realm<H>, Fault> {
        let error = |e: wasmtime::Error| Fault(format!("the sandbox does not start: {e:#}"));
        let (mut store, instance) = instantiate(&sandbox.engine, &sandbox.module, host, Some(sandbox.clone())).map_err(error)?;
        let memory = store.data().memory.expect("set by instantiate");
        let missing = len.saturating_sub(memory.data_size(&store));
        memory.grow(&mut store, missing.div_ceil(64 << 10) as u64).map_err(error)?;
        let heap = adopt(memory, &mut store)?;
        let stack_pointer = instance.get_global(&mut store, "__stack_pointer").expect("the guest exports it");
        let stack_base = stack_pointer.get(&mut store).unwrap_i32();
        let exports = Exports {
            memory,
            stack_pointer,
            buffer: instance.get_typed_func(&mut store, "buffer").map_err(error)?,
            load: instance.get_typed_func(&mut store, "load").map_err(error)?,
            call: instance.get_typed_func(&mut store, "call").map_err(error)?,
            eval: instance.get_typed_func(&mut store, "eval").map_err(error)?,
            connect: instance.get_typed_func(&mut store, "connect").map_err(error)?,
            oracle: instance.get_typed_func(&mut store, "oracle").map_err(error)?,
            peek: instance.get_typed_func(&mut store, "peek").map_err(error)?,
            modules: instance.get_typed_func(&mut store, "modules").map_err(error)?,
            respond: instance.get_typed_func(&mut store, "respond").map_err(error)?,
            invoke: instance.get_typed_func(&mut store, "invoke").map_err(error)?,
            deliver: instance.get_typed_func(&mut store, "deliver").map_err(error)?,
            trace: instance.get_typed_func(&mut store, "trace").map_err(error)?,
            limit: instance.get_typed_func(&mut store, "limit").map_err(error)?,
        };
        Ok(Realm { sandbox, limits, heap, store, exports, stack_base, used: 0, trapped: false })
    }

    /// The host.
    pub fn host(&self) -> &H {
        self.store.data().host.as_ref().expect("a realm has a host")
    }

    /// The host, to change it between two pieces of work.
    pub fn host_mut(&mut self) -> &mut H {
        self.store.data_mut().host.as_mut().expect("a realm has a host")
    }

    /// Takes the host out, for another realm. Until one is put back, this realm must not be used.
    pub fn take_host(&mut self) -> H {
        self.store.data_mut().host.take().expect("a realm has a host")
    }

    /// Puts a host back.
    pub fn put_host(&mut self, host: H) {
        self.store.data_mut().host = Some(host);
    }

    /// Ends the realm.
    pub fn into_host(self) -> H {
        self.store.into_data().host.expect("a realm has a host")
    }

    /// Evaluates a script or an ES module. The value is a JSON array of the method names.
    pub fn load(&mut self, name: &str, source: &str, now_ms: u64) -> Result<Outcome, Fault> {
        self.work(&[name.as_bytes(), source.as_bytes()], now_ms, |exports, store| exports.load.call(store, ()))
    }

    /// Calls an exported method. `args` is a JSON array, `caller` any JSON: `System.caller.id`.
    pub fn call(&mut self, method: &str, args: &str, caller: &str, now_ms: u64) -> Result<Outcome, Fault> {
        self.work(&[method.as_bytes(), args.as_bytes(), caller.as_bytes()], now_ms, |exports, store| exports.call.call(store, ()))
    }

    /// Calls an exported method and puts everything back, whatever comes of it.
    pub fn look(&mut self, method: &str, args: &str, caller: &str, now_ms: u64) -> Result<Outcome, Fault> {
        self.heap.sure = false;
        let outcome = self.run(&[method.as_bytes(), args.as_bytes(), caller.as_bytes()], now_ms, |exports, store| {
            exports.call.call(store, ())
        })?;
        self.rollback()?;
        Ok(outcome)
    }

    /// The next piece of work is known to succeed, as the ledger has it: the heap is not made ready to be put back. If it
    /// fails all the same, it comes to a [`Fault`], and the realm must not be used any more.
    pub fn sure(&mut self, sure: bool) {
        self.heap.sure = sure;
    }

    /// A top-level variable or an export of the script, by its name, as JSON.
    pub fn peek(&mut self, name: &str, now_ms: u64) -> Result<Outcome, Fault> {
        self.work(&[name.as_bytes()], now_ms, |exports, store| exports.peek.call(store, ()))
    }

    /// Lets readers on other threads follow the heap of this realm, each in a [`Replica`].
    pub fn share(&mut self) -> Result<SharedHeap, Fault> {
        if let Some(shared) = self.heap.shared() {
            return Ok(shared.clone());
        }
        let shared = SharedHeap::default();
        self.heap.share(shared.clone())?;
        Ok(shared)
    }

    /// Lets them have the heap as it is now, and with it what belongs to it. They can still have that while the next piece of
    /// work runs.
    pub fn publish(&mut self, attachment: Attachment) {
        self.heap.publish(attachment);
    }

    /// From now on the host hears before each question where it is asked ([`Host::place`]). This changes the heap: it is
    /// for forks.
    pub fn trace(&mut self) -> Result<(), Fault> {
        self.exports.trace.call(&mut self.store, ()).map_err(|e| Fault(format!("{e:#}")))
    }

    /// WebAssembly instructions that the last piece of work has used.
    pub fn instructions(&self) -> u64 {
        self.used
    }

    /// Pages that may have changed since the last [`Realm::mark`], in order. All that have are among them.
    pub fn changed_pages(&self) -> Vec<u32> {
        self.heap.changed()
    }

    /// A page of the heap as it is now.
    pub fn page(&self, index: u32) -> &[u8; PAGE_BYTES] {
        let start = index as usize * PAGE_BYTES;
        self.exports.memory.data(&self.store)[start..].first_chunk().expect("a page of the heap")
    }

    /// [`Realm::changed_pages`] tells of what comes from now on.
    pub fn mark(&mut self) {
        self.heap.mark();
    }

    /// Evaluates a line of a REPL.
    pub fn eval(&mut self, source: &str, now_ms: u64) -> Result<Outcome, Fault> {
        self.work(&[source.as_bytes()], now_ms, |exports, store| exports.eval.call(store, ()))
    }

    /// Makes this a REPL's realm, with a global `client` that has `methods` (a JSON array of names).
    pub fn connect(&mut self, methods: &str) -> Result<Outcome, Fault> {
        self.work(&[methods.as_bytes()], 0, |exports, store| exports.connect.call(store, ()))
    }

    /// SHA-256 over the length and the pages of the heap: equal for equal histories, everywhere.
    pub fn heap_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.heap.len() as u64).to_le_bytes());
        hash.update(self.exports.memory.data(&self.store));
        hash.finalize().into()
    }

    /// Bytes of linear memory in use.
    pub fn heap_bytes(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn work(
        &mut self,
        fields: &[&[u8]],
        now_ms: u64,
        run: impl FnOnce(&Exports, &mut Store<Slot<H>>) -> wasmtime::Result<u64>,
    ) -> Result<Outcome, Fault> {
        if self.heap.keeps() {
            return self.run_kept(fields, now_ms, run);
        }
        let outcome = self.run(fields, now_ms, run)?;
        if matches!(outcome, Outcome::Failure(_) | Outcome::Refused(_)) {
            self.rollback()?;
        } else {
            self.heap.commit(self.exports.memory.data_size(&self.store))?;
        }
        Ok(outcome)
    }

    pub(crate) fn run(
        &mut self,
        fields: &[&[u8]],
        now_ms: u64,
        run: impl FnOnce(&Exports, &mut Store<Slot<H>>) -> wasmtime::Result<u64>,
    ) -> Result<Outcome, Fault> {
        self.heap.begin();
        self.trapped = false;
        let store = &mut self.store;
        store.data_mut().now_us = now_ms as f64 * 1000.0;
        store.data_mut().instructions = self.limits.instructions;
        store.data_mut().placing = None;
        let worked = store.set_fuel(self.limits.instructions).and_then(|()| {
            write_request(&self.exports, store, fields)?;
            run(&self.exports, store)
        });
        let used = self.limits.instructions - store.get_fuel().unwrap_or(0).min(self.limits.instructions);
        let outcome = match worked {
            Ok(reply) => read_outcome(self.exports.memory.data(store.as_context()), reply)?,
            Err(error) => match store.data_mut().fault.take() {
                Some(fault) => return Err(fault),
                None => {
                    self.trapped = true;
                    Outcome::Failure(limit_failure(&error, &self.limits)?)
                }
            },
        };
        self.used = used;
        Ok(outcome)
    }

    /// A trap leaves the stack pointer where it was.
    pub(crate) fn reset_stack(&mut self) -> Result<(), Fault> {
        let set = self.exports.stack_pointer.set(&mut self.store, Val::I32(self.stack_base));
        set.map_err(|e| Fault(format!("stack pointer: {e:#}")))
    }

    fn rollback(&mut self) -> Result<(), Fault> {
        if self.heap.sure {
            return Err(Fault("a piece of work failed that was known to succeed".into()));
        }
        if self.exports.memory.data_size(&self.store) == self.heap.len() {
            self.reset_stack()?;
            return self.heap.rollback();
        }
        // A memory cannot shrink. So that a failed call leaves no trace, not even there, the instance is made anew.
        let before = self.heap.before()?;
        let changed = self.heap.changed();
        let shared = self.heap.take_shared();
        let host = self.store.data_mut().host.take().expect("a realm has a host");
        *self = Realm::with_heap(self.sandbox.clone(), self.limits, host, before.len(), |bytes| bytes.copy_from_slice(&before))?;
        self.heap.mark();
        self.heap.touch(&changed);
        if let Some(shared) = shared {
            self.heap.share(shared)?;
        }
        Ok(())
    }
}

/// A copy of a realm on another thread, which follows it. What runs here leaves no trace, neither here nor there.
pub struct Replica<H: Host> {
    realm: Realm<H>,
    shared: SharedHeap,
    version: u64,
}

impl<H: Host> Replica<H> {
    /// A copy of the realm that owns this heap. Its content comes with [`Replica::follow`].
    pub fn new(sandbox: &Sandbox, limits: Limits, shared: SharedHeap, host: H) -> Result<Replica<H>, Fault> {
        let realm = Realm::with_heap(sandbox.clone(), limits, host, sandbox.base.len(), |_| {})?;
        Ok(Replica { realm, shared, version: 0 })
    }

    /// Catches up with the owner. `ask` has to make the owner publish, when it has not since it last did something.
    pub fn follow(&mut self, mut ask: impl FnMut()) -> Result<Attachment, Fault> {
        loop {
            let Realm { heap, store, exports, .. } = &mut self.realm;
            heap.sure = true;
            heap.begin();
            let memory = exports.memory.data_mut(&mut *store);
            let followed = self.shared.follow(self.version, heap.len(), &mut ask, |index, read| {
                read(&mut memory[index as usize * PAGE_BYTES..][..PAGE_BYTES])
            });
            heap.sure = false;
            let followed = followed?;
            heap.commit(exports.memory.data_size(&*store))?;
            if followed.version > 0 {
                self.version = followed.version;
                return Ok(followed.attachment);
            }
            // Another length: a memory cannot shrink, and it seldom grows.
            let host = self.realm.take_host();
            let Realm { sandbox, limits, .. } = &self.realm;
            self.realm = Realm::with_heap(sandbox.clone(), *limits, host, followed.len, |_| {})?;
            self.version = 0;
        }
    }

    /// The host.
    pub fn host_mut(&mut self) -> &mut H {
        self.realm.host_mut()
    }

    /// Calls an exported method, and puts everything back.
    pub fn call(&mut self, method: &str, args: &str, caller: &str, now_ms: u64) -> Result<Outcome, Fault> {
        self.realm.look(method, args, caller, now_ms)
    }
}

fn write_request<H: Host>(exports: &Exports, store: &mut Store<Slot<H>>, fields: &[&[u8]]) -> wasmtime::Result<()> {
    let len: usize = fields.iter().map(|field| 4 + field.len()).sum();
    let ptr = exports.buffer.call(&mut *store, u32::try_from(len)?)? as usize;
    let bytes = exports.memory.data_mut(store);
    let mut room = bytes.get_mut(ptr..).and_then(|rest| rest.get_mut(..len)).ok_or(Trap::MemoryOutOfBounds)?;
    for field in fields {
        let (head, rest) = room.split_at_mut(4);
        head.copy_from_slice(&(field.len() as u32).to_le_bytes());
        let (body, rest) = rest.split_at_mut(field.len());
        body.copy_from_slice(field);
        room = rest;
    }
    Ok(())
}

fn read_outcome(memory: &[u8], reply: u64) -> Result<Outcome, Fault> {
    let malformed = || Fault("a malformed reply from the guest".into());
    let (ptr, len) = ((reply >> 32) as usize, reply as u32 as usize);
    let reply = memory.get(ptr..).and_then(|rest| rest.get(..len)).ok_or_else(malformed)?;
    let (tag, mut rest) = reply.split_first().ok_or_else(malformed)?;
    let mut bytes = || {
        let (len, bytes) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (field, after) = bytes.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(malformed)?;
        rest = after;
        Ok(field.to_vec())
    };
    let mut field = || String::from_utf8(bytes()?).map_err(|_| malformed());
    Ok(match tag {
        0 => Outcome::Value(field()?),
        1 => Outcome::Nothing,
        2 => Outcome::Failure(Failure { name: field()?, message: field()?, stack: field()? }),
        3 => Outcome::Refused(Failure { name: field()?, message: field()?, stack: field()? }),
        4 => Outcome::Reply(bundle::read_reply(rest).ok_or_else(malformed)?),
        5 => Outcome::Invalid(field()?),
        _ => return Err(malformed()),
    })
}

/// A trap is how a limit shows that the engine inside does not see itself.
fn limit_failure(error: &wasmtime::Error, limits: &Limits) -> Result<Failure, Fault> {
    let (name, message) = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            ("InstructionLimitError", format!("The call ran for more than {} instructions", limits.instructions))
        }
        Some(Trap::StackOverflow) => ("RangeError", "Maximum call stack size exceeded".to_owned()),
        Some(Trap::UnreachableCodeReached) => {
            ("HeapLimitError", format!("The call needed more than {} bytes of heap", limits.heap_bytes))
        }
        Some(trap) => ("SandboxError", format!("The engine trapped: {trap}")),
        None => return Err(Fault(format!("the sandbox failed: {error:#}"))),
    };
    Ok(Failure { name: name.to_owned(), message, stack: String::new() })
}

const _: () = assert!(PAGE_BYTES.is_power_of_two() && (64 << 10) % PAGE_BYTES == 0);
