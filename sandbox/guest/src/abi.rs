//! The exported functions, the imported ones, and the framing of requests and replies.

use crate::realm::Guest;
use std::cell::RefCell;

/// What a load, a call or an eval came to.
pub enum Outcome {
    /// A value, as JSON (for `eval`: as text for a person).
    Value(String),
    /// `undefined`, a function or a symbol: JSON has no word for it.
    Nothing,
    /// Something was thrown while it ran.
    Failure { name: String, message: String, stack: String },
    /// The source does not parse: nothing ran.
    Refused { name: String, message: String, stack: String },
    /// What a bundle's handler answers.
    Reply(Reply),
    /// What a bundle's handler returned is no response, or there is no such handler.
    Invalid(String),
}

/// A handler's answer.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Whether its writes count, if it said so.
    pub apply: Option<bool>,
    /// It wants a line in the log.
    pub metrics: bool,
    /// What it claims: 32 bytes, or none.
    pub claims: Vec<u8>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Outcome {
    fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        match self {
            Outcome::Value(json) => {
                out.push(0);
                field(out, json.as_bytes());
            }
            Outcome::Nothing => out.push(1),
            Outcome::Failure { name, message, stack } | Outcome::Refused { name, message, stack } => {
                out.push(if matches!(self, Outcome::Failure { .. }) { 2 } else { 3 });
                field(out, name.as_bytes());
                field(out, message.as_bytes());
                field(out, stack.as_bytes());
            }
            Outcome::Reply(Reply { status, apply, metrics, claims, headers, body }) => {
                out.push(4);
                out.extend_from_slice(&status.to_le_bytes());
                out.push(match apply {
                    None => 0,
                    Some(false) => 1,
                    Some(true) => 2,
                });
                out.push(u8::from(*metrics));
                field(out, claims);
                out.extend_from_slice(&(headers.len() as u32).to_le_bytes());
                for (name, value) in headers {
                    field(out, name.as_bytes());
                    field(out, value.as_bytes());
                }
                field(out, body);
            }
            Outcome::Invalid(message) => {
                out.push(5);
                field(out, message.as_bytes());
            }
        }
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Cuts a request into its fields. The host is trusted: a malformed request is a bug there, so this panics.
fn fields<const N: usize>(mut bytes: &[u8]) -> [&[u8]; N] {
    std::array::from_fn(|_| {
        let (len, rest) = bytes.split_first_chunk::<4>().expect("a request has all its fields");
        let (field, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        bytes = rest;
        field
    })
}

/// A request or reply buffer above this size is given back after use, so that one large call does not stay in
/// every later image.
const KEEP_BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    static GUEST: RefCell<Option<Guest>> = const { RefCell::new(None) };
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[cfg(target_arch = "wasm32")]
mod import {
    #[link(wasm_import_module = "glassbox")]
    unsafe extern "C" {
        pub fn host(op: u32, ptr: *const u8, len: u32) -> u32;
        pub fn take(ptr: *mut u8);
    }
}

/// Asks the host to do `op`; the answer is a status byte (0 done, 1 refused) and a payload.
#[cfg(target_arch = "wasm32")]
pub fn host(op: u32, request: &[u8]) -> Vec<u8> {
    // SAFETY: the host only reads `request` during the call, and `take` writes exactly the length that `host`
    // returned, into a vector with that capacity.
    unsafe {
        let len = import::host(op, request.as_ptr(), request.len() as u32) as usize;
        let mut answer = Vec::with_capacity(len);
        if len > 0 {
            import::take(answer.as_mut_ptr());
        }
        answer.set_len(len);
        answer
    }
}

/// Outside of wasm (tests of the prelude on this machine's own architecture) there is no host.
#[cfg(not(target_arch = "wasm32"))]
pub fn host(_op: u32, _request: &[u8]) -> Vec<u8> {
    vec![0]
}

/// Room for a request of `len` bytes; what was there before is gone.
#[unsafe(no_mangle)]
pub extern "C" fn buffer(len: u32) -> *mut u8 {
    INPUT.with_borrow_mut(|input| {
        input.clear();
        input.resize(len as usize, 0);
        input.as_mut_ptr()
    })
}

/// Boots; if that panics, a mistake in the prelude, the host hears why.
fn booted(make: fn() -> Guest) {
    std::panic::set_hook(Box::new(|panic| {
        let line = format!("3{panic}");
        host(OP_CONSOLE, &[&(line.len() as u32).to_le_bytes()[..], line.as_bytes()].concat());
    }));
    GUEST.set(Some(make()));
    drop(std::panic::take_hook());
}

const OP_CONSOLE: u32 = 1;

/// Makes the runtime and evaluates the prelude. Called once, before the base image is taken.
#[unsafe(no_mangle)]
pub extern "C" fn boot() {
    booted(Guest::new);
}

/// The same for bundles.
#[unsafe(no_mangle)]
pub extern "C" fn boot_bundle() {
    booted(Guest::bundle);
}

/// The same for vats.
#[unsafe(no_mangle)]
pub extern "C" fn boot_vat() {
    booted(Guest::vat);
}

/// A delivery to a vat.
#[unsafe(no_mangle)]
pub extern "C" fn deliver() -> u64 {
    run(|guest, request| guest.deliver(request))
}

/// Makes a bundle's realm one for an app or for a constitution, and evaluates modules in it.
#[unsafe(no_mangle)]
pub extern "C" fn modules() -> u64 {
    run(|guest, request| {
        let [kind, names] = fields(request);
        guest.modules(text(kind), text(names))
    })
}

/// A request to a bundle's handler.
#[unsafe(no_mangle)]
pub extern "C" fn respond() -> u64 {
    run(|guest, request| {
        let [module, function, head, body, state, signed, content] = fields(request);
        let content = if signed.is_empty() { None } else { Some(content) };
        guest.respond(text(module), text(function), text(head), body, text(state), content)
    })
}

/// A call of an export of a bundle's module, in JSON.
#[unsafe(no_mangle)]
pub extern "C" fn invoke() -> u64 {
    run(|guest, request| {
        let [module, function, args] = fields(request);
        guest.invoke(text(module), text(function), text(args))
    })
}

/// Sets the limits: bytes of heap and of stack.
#[unsafe(no_mangle)]
pub extern "C" fn limit(heap_bytes: u32, stack_bytes: u32) {
    GUEST.with_borrow(|guest| guest.as_ref().expect("booted").limit(heap_bytes as usize, stack_bytes as usize));
}

#[unsafe(no_mangle)]
pub extern "C" fn load() -> u64 {
    run(|guest, request| {
        let [name, source] = fields(request);
        guest.load(text(name), text(source))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn call() -> u64 {
    run(|guest, request| {
        let [method, args, caller] = fields(request);
        guest.call(text(method), text(args), text(caller))
    })
}

/// Runs the function of the oracle that is being asked, in a fork of the realm that asks.
#[unsafe(no_mangle)]
pub extern "C" fn oracle() -> u64 {
    run(|guest, _| guest.oracle())
}

/// A variable of the script as JSON.
#[unsafe(no_mangle)]
pub extern "C" fn peek() -> u64 {
    run(|guest, request| {
        let [name] = fields(request);
        guest.peek(text(name))
    })
}

/// From now on every question says where in the script it was asked.
#[unsafe(no_mangle)]
pub extern "C" fn trace() {
    GUEST.with_borrow(|guest| guest.as_ref().expect("booted").trace());
}

#[unsafe(no_mangle)]
pub extern "C" fn eval() -> u64 {
    run(|guest, request| {
        let [source] = fields(request);
        guest.eval(text(source))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn connect() -> u64 {
    run(|guest, request| {
        let [methods] = fields(request);
        guest.connect(text(methods))
    })
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the host sends UTF-8")
}

fn run(work: impl FnOnce(&Guest, &[u8]) -> Outcome) -> u64 {
    let input = INPUT.take();
    let outcome = GUEST.with_borrow(|guest| work(guest.as_ref().expect("booted"), &input));
    if input.capacity() <= KEEP_BUFFER_BYTES {
        INPUT.set(input);
    }
    OUTPUT.with_borrow_mut(|out| {
        if out.capacity() > KEEP_BUFFER_BYTES {
            *out = Vec::new();
        }
        outcome.write(out);
        (out.as_ptr() as u64) << 32 | out.len() as u64
    })
}
