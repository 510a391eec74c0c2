//! The outside of a vat: syscalls, modules, the console. While the vat runs, the kernel is here.

use super::kernel::{CapData, GcCall, Illegal, Party, Resolution, VatData};
use super::wavy;
use super::{CRANK_BYTES, Core};
use sandbox::{Answer, Consult, Fault, Host, Level, OracleAnswer};
use sha2::Digest;

/// What the guest asks for. The texts are in the guest's `prelude/vats`.
const OP_MODULE: u32 = 31;
const OP_PATH: u32 = 32;
const OP_SEND: u32 = 70;
const OP_RESOLVE: u32 = 71;
const OP_SUBSCRIBE: u32 = 72;
const OP_CALL_NOW: u32 = 73;
const OP_EXIT: u32 = 74;
const OP_STORE_GET: u32 = 75;
const OP_STORE_SET: u32 = 76;
const OP_STORE_DELETE: u32 = 77;
const OP_STORE_NEXT: u32 = 78;
const OP_GC: u32 = 79;
const OP_LOG: u32 = 80;
const OP_REWRITE: u32 = 81;
const OP_FORGET: u32 = 82;

/// What rewriting a source costs for each byte, in instructions.
const REWRITE_INSTRUCTIONS: u64 = 200;

/// What a row of the store costs to find.
const STORE_INSTRUCTIONS: u64 = 5_000;

/// See the [module](self).
pub(crate) struct VatHost {
    vat: u64,
    /// The kernel, while the vat runs.
    core: Option<Box<Core>>,
    /// It asked for what no vat may ask.
    illegal: Option<Illegal>,
    /// It wants to end: as a failure, with what.
    exit: Option<(bool, CapData)>,
}

/// What a vat has said of itself while it ran.
pub(super) struct Ran {
    pub core: Box<Core>,
    pub illegal: Option<Illegal>,
    pub exit: Option<(bool, CapData)>,
}

impl VatHost {
    pub fn new(vat: u64) -> VatHost {
        VatHost { vat, core: None, illegal: None, exit: None }
    }

    pub(super) fn lend(&mut self, core: Box<Core>) {
        (self.illegal, self.exit) = (None, None);
        self.core = Some(core);
    }

    pub(super) fn take(&mut self) -> Ran {
        let core = self.core.take().expect("it was lent");
        Ran { core, illegal: self.illegal.take(), exit: self.exit.take() }
    }

    fn syscall(&mut self, op: u32, text: &str, data: &[u8]) -> Result<Answer, Illegal> {
        let VatHost { vat, core, exit, .. } = self;
        let (vat, core) = (*vat, core.as_mut().expect("lent while the vat runs"));
        core.activity.update([op as u8]);
        core.activity.update(text.as_bytes());
        core.activity.update(data);
        core.activity.update([0]);
        core.bytes.0 = core.bytes.0.saturating_add(text.len() + data.len());
        if core.bytes.0 > CRANK_BYTES {
            return Err(Illegal(format!("one crank asks with more than {CRANK_BYTES} bytes")));
        }
        match op {
            OP_SEND => {
                let [target, form, result, slots, method, body] = fields(text)?;
                let method = match form {
                    "1" => Some(
                        serde_json::from_str::<String>(method).map_err(|_| Illegal("message has non-string method".into()))?,
                    ),
                    _ => None,
                };
                let result = Some(result).filter(|result| !result.is_empty());
                core.kernel.syscall_send(vat, target, method, body, &list(slots), result)?;
                if core.events.is_some() {
                    core.sent(vat);
                }
                Ok(Answer::Nothing)
            }
            OP_RESOLVE => {
                let resolutions: Vec<(&str, bool, std::borrow::Cow<str>, Vec<&str>)> =
                    serde_json::from_str(text).map_err(|_| malformed())?;
                let resolutions: Vec<Resolution> = resolutions
                    .iter()
                    .map(|(vpid, rejected, body, slots)| (*vpid, *rejected, body.as_ref(), slots.clone()))
                    .collect();
                if core.events.is_some() {
                    core.resolves(vat, &resolutions);
                }
                core.kernel.syscall_resolve(vat, &resolutions)?;
                Ok(Answer::Nothing)
            }
            OP_SUBSCRIBE => core.kernel.syscall_subscribe(vat, text).map(|()| Answer::Nothing),
            OP_CALL_NOW => {
                let [device, slots, method, body] = fields(text)?;
                let method: String = serde_json::from_str(method).map_err(|_| malformed())?;
                let args = VatData { body: body.to_owned(), slots: list(slots).iter().map(|slot| (*slot).to_owned()).collect() };
                Ok(match core.call_device(vat, device, &method, args)? {
                    Ok(VatData { body, slots }) => Answer::Text(format!("{}\n{body}", slots.join(","))),
                    Err(message) => Answer::Refused { name: "Error".into(), message },
                })
            }
            OP_EXIT => {
                let [failure, slots, body] = fields(text)?;
                let data = core.kernel.import_data(Party::Vat(vat), body, &list(slots))?;
                exit.get_or_insert((failure == "1", data));
                Ok(Answer::Nothing)
            }
            OP_STORE_SET => {
                let value = std::str::from_utf8(data).map_err(|_| malformed())?;
                if text.is_empty() || text.len() > 1_024 {
                    return Err(Illegal("a store's key has 1 to 1,024 bytes".into()));
                }
                core.kernel.tables_mut().store(vat, text, Some(value));
                Ok(Answer::Nothing)
            }
            OP_STORE_DELETE => {
                core.kernel.tables_mut().store(vat, text, None);
                Ok(Answer::Nothing)
            }
            OP_GC => {
                let [call, vrefs] = fields(text)?;
                let call = match call {
                    "dropImports" => GcCall::DropImports,
                    "retireImports" => GcCall::RetireImports,
                    "retireExports" => GcCall::RetireExports,
                    "abandonExports" => GcCall::AbandonExports,
                    _ => return Err(malformed()),
                };
                core.kernel.syscall_gc(vat, call, &list(vrefs))?;
                Ok(Answer::Nothing)
            }
            OP_FORGET => {
                core.kernel.syscall_forget(vat, &list(text))?;
                Ok(Answer::Nothing)
            }
            OP_LOG => {
                core.kernel.tables_mut().append_log(text);
                Ok(Answer::Nothing)
            }
            _ => Err(malformed()),
        }
    }
}

fn malformed() -> Illegal {
    Illegal("malformed syscall".into())
}

/// The fields of a syscall; the last one may hold line feeds.
fn fields<const N: usize>(text: &str) -> Result<[&str; N], Illegal> {
    text.splitn(N, '\n').collect::<Vec<_>>().try_into().map_err(|_| malformed())
}

fn list(names: &str) -> Vec<&str> {
    if names.is_empty() { Vec::new() } else { names.split(',').collect() }
}

impl Host for VatHost {
    fn console(&mut self, level: Level, line: &str) {
        if let Some(core) = &mut self.core {
            (core.console)(core.number, level, &core.modules.as_written(line));
        }
    }

    fn seed(&mut self) -> Result<u64, Fault> {
        Ok(0)
    }

    fn consult(&mut self) -> Result<Consult, Fault> {
        Err(Fault("a vat asks no oracle".into()))
    }

    fn consulted(&mut self, _: &OracleAnswer) {}

    fn ask(&mut self, op: u32, text: &str, data: &[u8], work: &mut u64) -> Result<Answer, Fault> {
        match op {
            OP_MODULE => {
                let core = self.core.as_ref().ok_or_else(|| Fault("a vat asks, and nobody has let it run".into()))?;
                return Ok(match core.modules.get(text) {
                    Some(source) => Answer::Text(source.to_owned()),
                    None => Answer::Refused { name: "Error".into(), message: format!("There is no module '{text}'") },
                });
            }
            OP_PATH => {
                let core = self.core.as_ref().ok_or_else(|| Fault("a vat asks, and nobody has let it run".into()))?;
                return Ok(core.modules.path(text).map_or(Answer::Nothing, |path| Answer::Text(path.to_owned())));
            }
            OP_REWRITE => {
                *work += REWRITE_INSTRUCTIONS * text.len() as u64;
                return Ok(match wavy::rewrite(text, wavy::Kind::Script) {
                    Ok(source) => Answer::Text(source.into_owned()),
                    Err(error) => Answer::Refused { name: "SyntaxError".into(), message: error.to_string() },
                });
            }
            OP_STORE_GET | OP_STORE_NEXT if self.illegal.is_none() => {
                *work += STORE_INSTRUCTIONS;
                let core = self.core.as_ref().ok_or_else(|| Fault("a vat asks, and nobody has let it run".into()))?;
                let row = if op == OP_STORE_GET { core.store_get(self.vat, text) } else { core.store_next(self.vat, text) };
                let row = row.map_err(|error| Fault(error.to_string()))?;
                return Ok(row.map_or(Answer::Nothing, Answer::Text));
            }
            OP_STORE_SET | OP_STORE_DELETE => *work += STORE_INSTRUCTIONS,
            _ => {}
        }
        // After what no vat may ask, nothing it asks is heard.
        let answer = match &self.illegal {
            Some(_) => Err(malformed()),
            None => self.syscall(op, text, data),
        };
        Ok(answer.unwrap_or_else(|illegal| {
            self.illegal.get_or_insert(illegal);
            Answer::Refused { name: "Error".into(), message: "syscall translation error: prepare to die".into() }
        }))
    }
}
