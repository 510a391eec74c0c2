//! Runs the vats of a folder and says what a delivery costs: `vat_cost FOLDER [ARGS…]`. Files `vat-*.js` and `bootstrap.js`.
#![allow(clippy::disallowed_methods, reason = "a measurement needs a clock, and a realm a thread with more stack")]

use machine::vats::{Install, Source, VatSource, Work, summary};
use machine::{Input, Machine, Service, state};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("vat_cost FOLDER [ARGS…]")?;
    let mut modules = BTreeMap::new();
    let mut vats = Vec::new();
    let mut bootstrap = String::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Some(stem) = name.strip_suffix(".js") else { continue };
        let source = std::fs::read_to_string(&path)?;
        if stem == "bootstrap" {
            bootstrap = if source.contains("setup") { "_bootstrap".into() } else { "bootstrap".into() };
        } else if let Some(vat) = stem.strip_prefix("vat-") {
            vats.push(VatSource { name: vat.into(), module: format!("/{name}"), parameters: None, options: None });
        }
        modules.insert(format!("/{name}"), source);
    }
    vats.sort_by(|a, b| a.name.cmp(&b.name));
    vats.push(VatSource { name: bootstrap.clone(), module: "/bootstrap.js".into(), parameters: None, options: None });
    let source = Source { vats, bootstrap, modules, bundles: BTreeMap::new() };
    let install = Install::new(source, args.collect());

    let began = Instant::now();
    let sandbox = sandbox::Sandbox::new()?;
    let console = Box::new(|_: u64, _, line: &str| println!("{line}"));
    let mut machine = Machine::vats(&sandbox, state::State::in_memory(), console)?;
    machine.begin(1, Service::nameless(machine::service::VATS))?;
    println!("ready in {:?}", began.elapsed());
    let began = Instant::now();
    let (outcome, _) = machine.execute(2, &Input::Vats { work: Work::Install(Box::new(install)), time_ms: 0 })?;
    println!("installed in {:?}: {:?}", began.elapsed(), outcome.result.as_ref().map(|_| ()));
    if let Err(failure) = &outcome.result {
        return Err(format!("{failure:?}").into());
    }
    let began = Instant::now();
    let (mut cranks, mut bytes, mut seqno) = (0, 0, 3);
    loop {
        let (outcome, writes) = machine.execute(seqno, &Input::Vats { work: Work::Run(256), time_ms: 0 })?;
        seqno += 1;
        bytes += writes.maps.values().flat_map(|map| &map.writes).map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let (ran, idle) = summary(&outcome.result).ok_or("no summary")?;
        cranks += ran;
        if idle {
            break;
        }
    }
    let took = began.elapsed();
    println!(
        "{cranks} cranks in {took:?}: {:.1} µs each, {} bytes each",
        took.as_secs_f64() * 1e6 / cranks as f64,
        bytes / cranks.max(1) as usize
    );
    println!("{}", serde_json::to_string(&machine.as_vats().ok_or("vats")?.dump())?.chars().take(2000).collect::<String>());
    Ok(())
}

fn main() {
    let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES).spawn(run).expect("a thread");
    if let Err(error) = thread.join().expect("it ends") {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
