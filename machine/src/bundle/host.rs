//! The host of a bundle's realms: tables, time, chance, modules, and what they ask of the ledger.
//!
//! What all realms of a machine share while one of them runs is lent to its host ([`Lent`]) and taken back after that.

use super::access::Context;
use super::crypto;
use super::deployed::Deployed;
use super::governor::effect;
use super::history::Past;
use super::modules::Sources;
use super::store::{MAX_WRITES_BYTES, Rows, RowsMut, Span, Store};
use super::turn::Turn;
use super::{Print, consensus, history};
use crate::outside::Outside;
use crate::state::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use ledger::write_set::PUBLIC_PREFIX;
use sandbox::{Answer, Consult, Fault, Host, Level, OracleAnswer, Sandbox};
use std::sync::Arc;

/// What realms share.
pub(crate) struct Lent {
    pub store: Store,
    /// To make realms.
    pub sandbox: Sandbox,
    pub outside: Box<dyn Outside>,
    pub archive: Option<Arc<dyn history::Archive>>,
    pub console: Print,
    /// Who executes has no ledger secret: private tables and seeds are not there.
    pub blind: bool,
    /// What the present request is, and what it has led to so far.
    pub turn: Turn,
}

/// What a constitution asks for: name and arguments as JSON; the answer is JSON.
pub(crate) type Govern = fn(&mut Lent, &str) -> Result<Answer, Fault>;

/// The host of one realm.
pub(crate) struct Kv {
    /// Not there between two pieces of work.
    pub lent: Option<Box<Lent>>,
    pub context: Context,
    /// Where modules come from.
    pub sources: Sources,
    /// `Date` shows the request's time. Whether it does stands in the heap: the guest says so when a request begins.
    pub shows_time: bool,
    /// It always does.
    pub always_shows_time: bool,
    /// What a constitution asks.
    pub govern: Govern,
}

const OP_CRYPTO: u32 = 30;
const OP_MODULE: u32 = 31;
const OP_CLOCK: u32 = 32;
const OP_HAS: u32 = 40;
const OP_GET: u32 = 41;
const OP_VERSION: u32 = 42;
const OP_SET: u32 = 43;
const OP_DELETE: u32 = 44;
const OP_CLEAR: u32 = 45;
const OP_SIZE: u32 = 46;
const OP_ENTRIES: u32 = 47;
const OP_GOVERN: u32 = 50;
const OP_CONSENSUS: u32 = 60;
const OP_HISTORY: u32 = 61;

/// What a row costs to be looked at, in instructions.
const ROW_INSTRUCTIONS: u64 = 500;

/// Rows that `clear` removes: all of them stand in the transaction.
const MAX_CLEARED_ROWS: u64 = 1_000_000;

pub(crate) fn refused(name: &'static str, message: impl Into<String>) -> Answer {
    Answer::Refused { name: name.into(), message: message.into() }
}

fn broken(error: impl std::fmt::Display) -> Fault {
    Fault(error.to_string())
}

impl Kv {
    pub fn new(context: Context, sources: Sources) -> Kv {
        Kv { lent: None, context, sources, shows_time: false, always_shows_time: false, govern: effect }
    }

    /// The host of a realm of an app's image.
    pub fn of(deployed: &Deployed, context: Context) -> Kv {
        let mut host = Kv::new(context, Sources::Tables);
        host.always_shows_time = deployed.options.enable_untrusted_date_time;
        host
    }

    fn lent(&mut self) -> Result<&mut Lent, Fault> {
        self.lent.as_deref_mut().ok_or_else(|| Fault("a realm works with nothing lent to it".into()))
    }
}

/// Cuts bytes off the front.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| Fault("a malformed request from the guest".into()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn field(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.u32()? as usize;
        self.take(len)
    }
}

/// Whether a question to `ccf.crypto` takes from the secret seed.
fn draws(text: &str) -> bool {
    let is = |name: &str| text.contains(&format!("\"fn\":\"{name}"));
    is("generate") || is("wrapKey") || is("sign\"") && text.contains("RSA-PSS")
}

fn method(op: u32) -> &'static str {
    match op {
        OP_HAS => "has",
        OP_GET => "get",
        OP_VERSION => "getVersionOfPreviousWrite",
        OP_SET => "set",
        OP_DELETE => "delete",
        OP_CLEAR => "clear",
        OP_SIZE => "size",
        _ => "forEach",
    }
}

impl Lent {
    /// Whether a table can be looked at: without the secret, private ones cannot.
    pub fn see(&mut self, map: &str) -> Result<(), Fault> {
        if self.blind && !map.starts_with(PUBLIC_PREFIX) {
            self.turn.blinded = true;
            return Err(Fault("a private table is not readable without the ledger secret".into()));
        }
        Ok(())
    }

    fn table(&mut self, op: u32, map: &str, data: &[u8], work: &mut u64) -> Result<Answer, Fault> {
        let mut data = Cut(data);
        let number = |n: u64| Answer::Bytes(n.to_le_bytes().to_vec());
        match op {
            OP_CLEAR => {
                let rows = self.store.count(map).map_err(broken)?;
                *work += rows * ROW_INSTRUCTIONS;
                if rows > MAX_CLEARED_ROWS {
                    let why = format!("A request removes at most {MAX_CLEARED_ROWS} rows at once; this table has {rows}");
                    return Ok(refused("RangeError", why));
                }
                self.store.clear(map).map_err(broken)?;
                return Ok(Answer::Nothing);
            }
            OP_SIZE => {
                let rows = self.store.count(map).map_err(broken)?;
                *work += rows * ROW_INSTRUCTIONS;
                return Ok(number(rows));
            }
            OP_ENTRIES => {
                let Some(rows) = self.store.span(map, &span(data)?).map_err(broken)? else {
                    return Ok(refused("InternalError", "out of memory"));
                };
                *work += rows.len() as u64 * ROW_INSTRUCTIONS;
                return Ok(packed(rows));
            }
            _ => {}
        }
        let key = data.field()?;
        match op {
            OP_HAS => {
                Ok(if self.store.get(map, key).map_err(broken)?.is_some() { Answer::Bytes(Vec::new()) } else { Answer::Nothing })
            }
            OP_GET => Ok(self.store.get(map, key).map_err(broken)?.map_or(Answer::Nothing, Answer::Bytes)),
            OP_VERSION => Ok(self.store.version(map, key).map_err(broken)?.map_or(Answer::Nothing, number)),
            OP_SET if key.len() > MAX_KEY_BYTES => Ok(refused("RangeError", format!("A key has at most {MAX_KEY_BYTES} bytes"))),
            OP_SET if data.0.len() > MAX_VALUE_BYTES => {
                Ok(refused("RangeError", format!("A value has at most {MAX_VALUE_BYTES} bytes")))
            }
            OP_SET => {
                // What is written twice counts twice.
                self.turn.written += key.len() + data.0.len();
                if self.turn.written > MAX_WRITES_BYTES {
                    return Ok(refused("RangeError", format!("A request writes at most {MAX_WRITES_BYTES} bytes")));
                }
                self.store.put(map, key, data.0);
                Ok(Answer::Nothing)
            }
            // What was never there leaves no trace.
            OP_DELETE => {
                if self.store.version(map, key).map_err(broken)?.is_some() {
                    self.store.remove(map, key);
                } else if let Some(own) = self.store.writes.maps.get_mut(map) {
                    own.writes.remove(key);
                }
                Ok(Answer::Nothing)
            }
            _ => Err(Fault(format!("the guest asks {op}"))),
        }
    }
}

fn span(mut data: Cut) -> Result<Span, Fault> {
    let limit = data.u32()?;
    let flags = data.take(1)?[0];
    let (from, to) = (data.field()?.to_vec(), data.field()?.to_vec());
    Ok(Span {
        from: (flags & 2 != 0).then_some(from),
        to: (flags & 4 != 0).then_some(to),
        limit: if limit == u32::MAX { usize::MAX } else { limit as usize },
        reverse: flags & 1 != 0,
    })
}

fn packed(rows: Vec<(Vec<u8>, Vec<u8>)>) -> Answer {
    let mut bytes = Vec::with_capacity(rows.iter().map(|(key, value)| 8 + key.len() + value.len()).sum());
    for part in rows.into_iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&part);
    }
    Answer::Bytes(bytes)
}

/// A table of a transaction of the past: its writes and nothing else.
fn past_table(past: &Past, op: u32, map: &str, data: &[u8]) -> Result<Answer, Fault> {
    let mut data = Cut(data);
    let rows = past.writes.maps.get(map).map(|map| &map.writes);
    let number = |n: u64| Answer::Bytes(n.to_le_bytes().to_vec());
    if op == OP_SIZE {
        return Ok(number(rows.map_or(0, |rows| rows.len() as u64)));
    }
    if op == OP_ENTRIES {
        let Span { from, to, limit, reverse } = span(data)?;
        let within = |key: &[u8]| from.as_deref().is_none_or(|from| key >= from) && to.as_deref().is_none_or(|to| key < to);
        let mut rows: Vec<_> =
            rows.into_iter().flatten().filter(|(key, _)| within(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
        if reverse {
            rows.reverse();
        }
        rows.truncate(limit);
        return Ok(packed(rows));
    }
    let value = rows.and_then(|rows| rows.get(data.field().ok()?));
    Ok(match (op, value) {
        (OP_HAS, Some(_)) => Answer::Bytes(Vec::new()),
        (OP_GET, Some(value)) => Answer::Bytes(value.clone()),
        (OP_VERSION, Some(_)) => number(past.txid.seqno),
        _ => Answer::Nothing,
    })
}

impl Host for Kv {
    fn console(&mut self, level: Level, line: &str) {
        if let Some(lent) = self.lent.as_deref_mut() {
            (lent.console)(level, line);
        }
    }

    fn seed(&mut self) -> Result<u64, Fault> {
        let Lent { turn, outside, blind, .. } = self.lent()?;
        let mut bytes = [0; 8];
        turn.chance(outside.as_mut(), *blind)?.ordinary(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn consult(&mut self) -> Result<Consult, Fault> {
        Err(Fault("a bundle has no oracles".into()))
    }

    fn consulted(&mut self, _: &OracleAnswer) {}

    fn now_us(&mut self) -> Option<f64> {
        let time_ms =
            if self.shows_time || self.always_shows_time { self.lent.as_ref().map_or(0, |lent| lent.turn.time_ms) } else { 0 };
        Some(time_ms as f64 * 1000.0)
    }

    fn ask(&mut self, op: u32, text: &str, data: &[u8], work: &mut u64) -> Result<Answer, Fault> {
        match op {
            OP_HAS..=OP_ENTRIES => {
                let mut data = Cut(data);
                let state = data.u32()? as usize;
                let writes = matches!(op, OP_SET | OP_DELETE | OP_CLEAR);
                if state > 0 {
                    if writes {
                        let message = format!(
                            "Cannot call {} on table named {text}. All tables are read-only during historical transaction.",
                            method(op)
                        );
                        return Ok(refused("TypeError", message));
                    }
                    let past = self.lent()?.turn.pasts.get(state - 1);
                    return past.map_or(Ok(Answer::Nothing), |past| past_table(past, op, text, data.0));
                }
                if let Some((name, message)) = self.context.refuses(text, method(op), writes) {
                    return Ok(refused(name, message));
                }
                let lent = self.lent()?;
                // Whether a row is there that is removed is seen, too.
                if op != OP_SET {
                    lent.see(text)?;
                }
                lent.table(op, text, data.0, work)
            }
            OP_MODULE => {
                let Kv { sources, lent, .. } = self;
                sources.find(text, lent.as_deref().map(|lent| &lent.store)).map_err(broken)
            }
            OP_CLOCK => {
                self.shows_time = text == "1";
                Ok(Answer::Nothing)
            }
            OP_CRYPTO => {
                let loading = self.context == Context::Loading;
                let Lent { turn, outside, blind, .. } = self.lent()?;
                if loading && draws(text) {
                    let why = "a key that is made while modules are evaluated would be the same in every request, and known";
                    return Ok(refused("TypeError", why));
                }
                crypto::answer(text, data, work, &mut turn.secret(outside.as_mut(), *blind))
            }
            OP_CONSENSUS => consensus::answer(self.lent()?, text),
            OP_HISTORY => history::answer(self.lent()?, text, work),
            OP_GOVERN => {
                let govern = self.govern;
                govern(self.lent()?, text)
            }
            _ => Err(Fault(format!("the guest asks {op}"))),
        }
    }
}
