//! What bundles do with a realm: evaluate modules once, then answer each request from the heap as it was after that.

use crate::heap::{Heap, Image};
use crate::host::{Fault, Host};
use crate::realm::{Limits, Outcome, Realm, Sandbox};

/// What a handler is given.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The module's path from the root of the bundle.
    pub module: &'a str,
    /// The export.
    pub function: &'a str,
    /// The request without its body, JSON.
    pub request: &'a str,
    /// Its body.
    pub body: &'a [u8],
    /// A transaction of the past that it sees as `ccf.historicalState`, JSON.
    pub state: Option<&'a str>,
    /// What its caller has signed, if it is signed.
    pub content: Option<&'a [u8]>,
}

/// What a handler answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status, 200 to 599.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether its writes count, if it said so.
    pub apply: Option<bool>,
    /// What it claims.
    pub claims: Option<[u8; 32]>,
    /// It wants a line in the log.
    pub metrics: bool,
}

/// Reads a reply as the guest has written it.
pub(crate) fn read_reply(mut bytes: &[u8]) -> Option<Reply> {
    fn number(bytes: &mut &[u8]) -> Option<usize> {
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(u32::from_le_bytes(*number) as usize)
    }
    fn field(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let len = number(bytes)?;
        let (field, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        Some(field.to_vec())
    }
    let text = |bytes: &mut &[u8]| String::from_utf8(field(bytes)?).ok();
    let (&[low, high, apply, metrics], rest) = bytes.split_first_chunk::<4>()?;
    bytes = rest;
    let claims = field(&mut bytes)?.try_into().ok();
    let headers = (0..number(&mut bytes)?).map(|_| Some((text(&mut bytes)?, text(&mut bytes)?))).collect::<Option<_>>()?;
    let apply = match apply {
        0 => None,
        apply => Some(apply == 2),
    };
    let body = field(&mut bytes)?;
    Some(Reply { status: u16::from_le_bytes([low, high]), headers, body, apply, claims, metrics: metrics != 0 })
}

impl<H: Host> Realm<H> {
    /// Makes this the realm of an app (`app`), or of a constitution that looks (`gov`) or acts (`apply`), and evaluates modules,
    /// a JSON array of paths, with what they import. Their sources come from the host.
    pub fn modules(&mut self, kind: &str, names: &str, now_ms: u64) -> Result<Outcome, Fault> {
        self.work(&[kind.as_bytes(), names.as_bytes()], now_ms, |exports, store| exports.modules.call(store, ()))
    }

    /// Calls an export of a module. Arguments and result are JSON.
    pub fn invoke(&mut self, module: &str, function: &str, args: &str, now_ms: u64) -> Result<Outcome, Fault> {
        let fields = [module.as_bytes(), function.as_bytes(), args.as_bytes()];
        self.work(&fields, now_ms, |exports, store| exports.invoke.call(store, ()))
    }

    /// For each name in a JSON array the number of parameters of that export, or null: a JSON object.
    pub fn shape(&mut self, module: &str, names: &str) -> Result<Outcome, Fault> {
        self.invoke(module, "", names, 0)
    }

    /// Has a handler answer, and keeps what it did to the heap, unless it failed.
    pub fn respond(&mut self, exchange: &Exchange, now_ms: u64) -> Result<Outcome, Fault> {
        self.work(&fields(exchange), now_ms, |exports, store| exports.respond.call(store, ()))
    }

    /// Has a handler answer in a frozen realm. Whatever it does to the heap is gone after that.
    pub fn respond_once(&mut self, exchange: &Exchange, now_ms: u64) -> Result<Outcome, Fault> {
        let outcome = self.run(&fields(exchange), now_ms, |exports, store| exports.respond.call(store, ()));
        self.thaw()?;
        outcome
    }

    /// What one piece of work may use from now on. The heap knows nothing of it.
    pub fn allow(&mut self, instructions: u64) {
        self.limits.instructions = instructions;
    }

    /// From now on every piece of work is [`Realm::respond_once`]: the heap as it is now is what each of them begins with, here
    /// and in the realms of this image.
    pub fn freeze(&mut self) -> Result<Image, Fault> {
        self.heap.freeze()
    }

    /// A realm that begins every piece of work with an image.
    pub fn of_image(sandbox: &Sandbox, limits: Limits, host: H, image: &Image) -> Result<Realm<H>, Fault> {
        Realm::with(sandbox.clone(), limits, host, image.len_bytes(), |memory, store| {
            // SAFETY: the memory of this store, which the realm owns and drops after the heap; it is a `Reservation`, never
            // moves, and only the realm's work touches it, through `&mut self`.
            unsafe { Heap::adopt_image(memory.data_ptr(&*store), image) }
        })
    }

    /// A realm that begins as an image and goes its own way.
    pub fn from_image(sandbox: &Sandbox, limits: Limits, host: H, image: &Image) -> Result<Realm<H>, Fault> {
        let mut read = Ok(());
        let realm = Realm::with_heap(sandbox.clone(), limits, host, image.len_bytes(), |bytes| read = image.read(bytes))?;
        read.map(|()| realm)
    }

    fn thaw(&mut self) -> Result<(), Fault> {
        if self.exports.memory.data_size(&self.store) == self.heap.len() {
            self.reset_stack()?;
            return self.heap.thaw();
        }
        // A memory cannot shrink.
        let image = self.heap.image();
        let host = self.take_host();
        *self = Realm::of_image(&self.sandbox.clone(), self.limits, host, &image)?;
        Ok(())
    }
}

fn fields<'a>(exchange: &Exchange<'a>) -> [&'a [u8]; 7] {
    let Exchange { module, function, request, body, state, content } = exchange;
    let signed: &[u8] = if content.is_some() { b"1" } else { b"" };
    [
        module.as_bytes(),
        function.as_bytes(),
        request.as_bytes(),
        body,
        state.unwrap_or_default().as_bytes(),
        signed,
        content.unwrap_or_default(),
    ]
}
