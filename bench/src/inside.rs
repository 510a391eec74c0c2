//! What the parts cost, measured inside this process: CPU time of one thread, the best of several rounds.

use ledger::{Keys, Sealed, Sealer, Transaction, WriteSet};
use machine::state::State;
use machine::{Call, Caller, Code, Input, Machine, Service, Settings};
use nix::time::{ClockId, clock_gettime};
use sandbox::{Answer, Consult, Fault, Host, Level, Limits, OracleAnswer, Outcome, Realm, Sandbox};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::table::Row;

const NOW_MS: u64 = 1_700_000_000_000;
const ROUNDS: usize = 3;

/// The work that both engines do.
const WORK: &str = r"
    exports.loop = () => { let s = 0; for (let i = 0; i < 3000000; i++) s = (s + i * 3) % 1000003; return s };
    exports.fib = () => { function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }; return fib(25) };
    exports.json = () => {
      let o = {}, n = 0;
      for (let i = 0; i < 1000; i++) o['k' + i] = { a: i, b: 'x'.repeat(20), c: [1, 2, 3] };
      for (let j = 0; j < 25; j++) n += JSON.stringify(JSON.parse(JSON.stringify(o))).length;
      return n };
";

const CALLS: &str = r"
    let n = 0;
    exports.trivial = () => ++n;
    exports.persistent = async () => {
      let i = await System.files.readFile('/counter', 'json'); i++;
      await System.files.writeFile('/counter', i); return i };
    exports.fail = () => { n++; throw new Error('no') };
";

/// CPU time of this thread, in microseconds.
fn cpu_us() -> Result<f64, nix::Error> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 * 1e6 + time.tv_nsec() as f64 / 1e3)
}

/// Microseconds for each of `count` runs of `work`.
fn cost_us(count: usize, mut work: impl FnMut(usize) -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let before = cpu_us()?;
    for i in 0..count {
        work(i)?;
    }
    Ok((cpu_us()? - before) / count as f64)
}

/// A host with one file.
#[derive(Default)]
struct OneFile(Vec<u8>);

impl Host for OneFile {
    fn console(&mut self, _: Level, _: &str) {}

    fn seed(&mut self) -> Result<u64, Fault> {
        Ok(7)
    }

    fn consult(&mut self) -> Result<Consult, Fault> {
        Ok(Consult::Recorded(Ok(None)))
    }

    fn consulted(&mut self, _: &OracleAnswer) {}

    fn ask(&mut self, op: u32, _: &str, data: &[u8], _: &mut u64) -> Result<Answer, Fault> {
        const READ: u32 = 10;
        if op == READ {
            return Ok(if self.0.is_empty() {
                Answer::Nothing
            } else {
                Answer::Text(String::from_utf8_lossy(&self.0).into_owned())
            });
        }
        self.0 = data.to_vec();
        Ok(Answer::Nothing)
    }
}

/// All rows of this module. `calls` is how many calls the longer ones make.
pub fn rows(calls: usize, persistent_counter: &str, dir: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let sandbox = Sandbox::new()?;
    let mut rows = sandbox_calls(&sandbox, calls)?;
    rows.extend(pipeline(&sandbox, calls, persistent_counter)?);
    rows.extend(engines(&sandbox)?);
    rows.push(fsync(dir)?);
    Ok(rows)
}

fn loaded(sandbox: &Sandbox, source: &str) -> Result<Realm<OneFile>, Box<dyn Error>> {
    let mut realm = Realm::new(sandbox, Limits::DEFAULT, OneFile::default())?;
    match realm.load("bench.js", source, NOW_MS)? {
        Outcome::Value(_) => Ok(realm),
        other => Err(format!("the script does not load: {other:?}").into()),
    }
}

fn sandbox_calls(sandbox: &Sandbox, calls: usize) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut realm = loaded(sandbox, CALLS)?;
    let mut rows = Vec::new();
    for (method, what) in [
        ("trivial", "sandbox alone: a call that counts in memory"),
        ("persistent", "sandbox alone: the persisted counter, file in memory"),
        ("fail", "sandbox alone: a call that throws, rolled back"),
    ] {
        let mut samples = Vec::new();
        for _ in 0..ROUNDS {
            samples.push(cost_us(calls, |_| {
                let outcome = realm.call(method, "[]", "null", NOW_MS)?;
                match (method, outcome) {
                    ("fail", Outcome::Failure(_)) => Ok(()),
                    (_, Outcome::Value(_)) => Ok(()),
                    (_, other) => Err(format!("{method}: {other:?}").into()),
                }
            })?);
        }
        rows.push(Row::new(what, "µs CPU/call", &samples));
    }
    Ok(rows)
}

fn begin(machine: &mut Machine) -> Result<WriteSet, Box<dyn Error>> {
    let service = Service {
        format: machine::service::FORMAT,
        kind: "script".into(),
        title: String::new(),
        files: "00".repeat(32),
        log: "00".repeat(32),
        operator: "00".repeat(32),
        chance: String::new(),
        engine: sandbox::ENGINE.into(),
    };
    Ok(machine.begin(1, service)?)
}

fn empty_machine(sandbox: &Sandbox) -> Machine {
    Machine::new(sandbox.clone(), State::in_memory(), Box::new(|_, _, _| {}), Box::new(machine::Nobody))
}

/// Execute, seal, sign, replay: what happens to a call between its two ends.
fn pipeline(sandbox: &Sandbox, calls: usize, persistent_counter: &str) -> Result<Vec<Row>, Box<dyn Error>> {
    let now_s = NOW_MS / 1000;
    let keys = Arc::new(Keys::generate("bench", "bench", now_s, now_s + 3600)?);
    let (mut execute, mut seal, mut sign, mut parse, mut replay) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let mut machine = empty_machine(sandbox);
        let mut sealer = Sealer::new(&keys, ledger::txid::FIRST_VIEW)?;
        let code = Code { name: "bench.js".into(), source: persistent_counter.into(), settings: Settings::default() };
        let mut sets = vec![begin(&mut machine)?];
        ledger::genesis(&mut sets[0], &keys);
        sets.push(machine.execute(2, &Input::Deploy { code, time_ms: NOW_MS })?.1);
        execute.push(cost_us(calls, |i| {
            let call = Call { method: "increment".into(), args: "[]".into(), caller: Caller::Anonymous, time_ms: NOW_MS };
            let (outcome, writes) = machine.execute(3 + i as u64, &Input::Call(call))?;
            sets.push(writes);
            outcome.result.map(drop).map_err(|failure| failure.message.into())
        })?);
        let mut sealed: Vec<Sealed> = Vec::with_capacity(sets.len() + 1);
        seal.push(cost_us(sets.len(), |i| {
            sealed.push(sealer.seal(&sets[i], machine::claims(&sets[i]))?);
            Ok(())
        })?);
        sign.push(cost_us(20, |_| {
            sealed.push(sealer.sign(now_s, false)?);
            Ok(())
        })?);
        let mut transactions = Vec::with_capacity(sealed.len());
        let mut sealed = sealed.into_iter();
        parse.push(cost_us(sealed.len(), |_| {
            let sealed = sealed.next().ok_or("none is left")?;
            transactions.push(Transaction::from_raw(sealed.raw)?);
            Ok(())
        })?);
        let mut machine = empty_machine(sandbox);
        replay.push(cost_us(transactions.len(), |i| {
            machine.replay(&transactions[i])?;
            Ok(())
        })?);
    }
    Ok(vec![
        Row::new("machine: execute the persisted counter", "µs CPU/call", &execute),
        Row::new("ledger: seal it (encode, tag, two hashes, tree)", "µs CPU/call", &seal),
        Row::new("ledger: sign (two P-384 signatures), at most every 100 ms", "µs CPU/signature", &sign),
        Row::new("ledger: parse it", "µs CPU/call", &parse),
        Row::new("machine: replay it, compared byte for byte", "µs CPU/call", &replay),
    ])
}

/// QuickJS behind our wall and without it, in turns.
fn engines(sandbox: &Sandbox) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut realm = loaded(sandbox, WORK)?;
    let runtime = rquickjs::Runtime::new()?;
    let context = rquickjs::Context::full(&runtime)?;
    context.with(|ctx| ctx.eval::<(), _>(format!("var exports = {{}}; {WORK}")))?;
    let mut rows = Vec::new();
    for (method, what) in [("loop", "a loop of 3 million"), ("fib", "fib(25)"), ("json", "JSON, 25 × 64 KB there and back")] {
        let (mut ours, mut native) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut here = String::new();
            ours.push(cost_us(1, |_| match realm.call(method, "[]", "null", NOW_MS)? {
                Outcome::Value(json) => {
                    here = json;
                    Ok(())
                }
                other => Err(format!("{method}: {other:?}").into()),
            })?);
            let mut there = 0.0;
            native.push(cost_us(1, |_| {
                there = context.with(|ctx| ctx.eval::<f64, _>(format!("exports.{method}()")))?;
                Ok(())
            })?);
            if here.parse() != Ok(there) {
                return Err(format!("{method}: {here} in the sandbox, {there} without it").into());
            }
        }
        let best = |samples: &[f64]| samples.iter().copied().fold(f64::INFINITY, f64::min);
        let (ours, native) = (best(&ours), best(&native));
        let detail = format!("{:.1} ms, native {:.1} ms", ours / 1e3, native / 1e3);
        rows.push(Row::new(format!("QuickJS in the sandbox: {what}"), "× native", &[ours / native]).detail(detail));
    }
    Ok(rows)
}

/// What the disk takes for a small append that must be durable.
fn fsync(dir: &Path) -> Result<Row, Box<dyn Error>> {
    const APPEND_BYTES: usize = 300;
    const APPENDS: usize = 200;
    let mut file = File::create(dir.join("fsync"))?;
    let mut times = Vec::new();
    let mut cpu = 0.0;
    for _ in 0..APPENDS {
        let (began, before) = (Instant::now(), cpu_us()?);
        file.write_all(&[7; APPEND_BYTES])?;
        file.sync_data()?;
        cpu += cpu_us()? - before;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let detail =
        format!("takes {:.2} ms at the median, {:.2} ms at p99", times[APPENDS / 2] / 1e3, times[APPENDS * 99 / 100] / 1e3);
    Ok(Row::new("this disk: append 300 bytes and fsync", "µs CPU", &[cpu / APPENDS as f64]).detail(detail))
}
