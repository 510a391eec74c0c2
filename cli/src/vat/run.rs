//! `glassbox vat run`: to the end, in blocks. Also what all commands share that run vats here.

use super::Vats;
use crate::{Failed, with_stack};
use machine::Console;
use machine::vats::kernel::Watch;
use sandbox::Level;
use server::vats::Session;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::signal::unix::{SignalKind, signal};

/// Cranks of a block. A block is one transaction.
pub(super) const BLOCK_CRANKS: u64 = 256;

/// Run vats until no message is left.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    pub(super) vats: Vats,
}

pub fn run(args: Args) -> Result<(), Failed> {
    let interrupt = Interrupt::listen()?;
    with_stack(move || {
        let mut session = args.vats.session(console(args.vats.verbose))?;
        let ended = to_the_end(&mut session, &interrupt)?;
        session.end().map_err(Failed::new)?;
        ended.into_result()?;
        let _ = writeln!(std::io::stdout(), "= vat finished");
        Ok(())
    })?
}

/// How a run has ended.
pub(super) struct Ended {
    /// How many cranks it was.
    pub cranks: u64,
    interrupted: bool,
    failed: bool,
}

impl Ended {
    pub fn into_result(self) -> Result<(), Failed> {
        match self {
            Ended { failed: true, .. } => Err(Failed { code: 1, message: String::new() }),
            Ended { interrupted: true, cranks, .. } => Err(Failed::new(format!("interrupted after {cranks} cranks"))),
            _ => Ok(()),
        }
    }
}

/// Runs block after block until no message is left, or somebody interrupts.
pub(super) fn to_the_end(session: &mut Session, interrupt: &Interrupt) -> Result<Ended, Failed> {
    let mut ended = Ended { cranks: 0, interrupted: false, failed: false };
    let _running = interrupt.running();
    while !is_idle(session) {
        if interrupt.is_on() {
            ended.interrupted = true;
            break;
        }
        ended.cranks += session.run(BLOCK_CRANKS).map_err(Failed::new)?.0;
        ended.failed |= tell_of_bootstrap(session);
    }
    // Its last words are on stderr.
    ended.failed |= session.machine().as_vats().is_some_and(|vats| vats.panicked().is_some());
    Ok(ended)
}

/// Whether no message is left.
pub(super) fn is_idle(session: &mut Session) -> bool {
    session.machine().as_vats().is_none_or(|vats| vats.is_idle())
}

/// Says so if `bootstrap` has failed since this was asked last.
pub(super) fn tell_of_bootstrap(session: &mut Session) -> bool {
    let replies = session.machine().as_vats_mut().map(|vats| vats.take_replies()).unwrap_or_default();
    let mut failed = false;
    for reply in replies {
        if let (Watch::Bootstrap, Err(failure)) = (reply.watch, &reply.result) {
            eprintln!("bootstrap failed: {}: {} (-v shows where it was thrown)", failure.name, failure.message);
            failed = true;
        }
    }
    failed
}

/// Lines as they come. That nobody reads them is no reason to stop.
pub(super) fn console(debug: bool) -> Console {
    Box::new(move |_, level, line| {
        let _ = match level {
            Level::Debug if !debug => Ok(()),
            Level::Debug | Level::Info => writeln!(std::io::stdout(), "{line}"),
            Level::Warn | Level::Error => writeln!(std::io::stderr(), "{line}"),
        };
    })
}

/// Ctrl-C and SIGTERM: while vats run, the first one ends that after the block; all others end the process as ever. A ledger bears
/// that at any time.
#[derive(Clone)]
pub(super) struct Interrupt(Arc<State>);

#[derive(Default)]
struct State {
    running: AtomicBool,
    on: AtomicBool,
}

impl Interrupt {
    /// From now on.
    pub fn listen() -> Result<Interrupt, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(Failed::unable)?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            let open = |kind| signal(kind).map_err(Failed::unable);
            (open(SignalKind::interrupt())?, open(SignalKind::terminate())?)
        };
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    let code = tokio::select! {
                        _ = interrupt.recv() => 130,
                        _ = terminate.recv() => 143,
                    };
                    if !shared.running.load(SeqCst) || shared.on.swap(true, SeqCst) {
                        std::process::exit(code);
                    }
                }
            });
        });
        Ok(Interrupt(state))
    }

    /// Whether to end.
    pub fn is_on(&self) -> bool {
        self.0.on.load(SeqCst)
    }

    /// Vats run as long as the value lives.
    fn running(&self) -> Running {
        self.0.on.store(false, SeqCst);
        self.0.running.store(true, SeqCst);
        Running(self.0.clone())
    }
}

struct Running(Arc<State>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, SeqCst);
    }
}
