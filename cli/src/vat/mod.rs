//! `glassbox vat`: runs vats, which are objects that send each other messages; after SwingSet's `bin/vat`.
//!
//! ```text
//! vat-*.js, bootstrap.js ──load──▶ Install ──▶ server::vats::Session ──▶ run: to the end        shell: by hand
//!                                                      └ in memory, or kept in --dir             trace: who caused what
//!                                     └──────▶ server::Backend ──▶ serve: for callers
//! ```
//!
//! A kept directory goes on where it was: it is not bootstrapped again, and needs no sources, which its ledger has.

mod load;
mod mail;
mod run;
mod serve;
mod shell;
mod show;
mod trace;

use crate::Failed;
use load::Loaded;
use machine::vats::{BUILTIN, Install};
use machine::{Console, Settings};
use server::node::{App, Node, Options};
use server::outside::Oracles;
use server::vats::{Said, Session};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Run vats: objects that send each other messages.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command: `run`.
    #[command(flatten)]
    run: run::Args,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Run vats until no message is left.
    Run(run::Args),
    /// Run vats step by step, from a JavaScript prompt.
    Shell(shell::Args),
    /// Serve vats: what they register can be called.
    Serve(serve::Args),
    /// Show who has sent what because of what.
    Trace(trace::Args),
}

pub fn run(args: Args) -> Result<(), Failed> {
    match args.command {
        None => {
            args.run.vats.expect_no_command()?;
            run::run(args.run)
        }
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Shell(args)) => shell::run(args),
        Some(Command::Serve(args)) => serve::run(args),
        Some(Command::Trace(args)) => trace::run(args),
    }
}

/// Which vats, and how they run.
#[derive(clap::Args, Debug)]
struct Vats {
    /// The folder of the vats: bootstrap.js, vat-*.js, vat-*/index.js [default: .].
    basedir: Option<PathBuf>,
    /// What `bootstrap` is given; behind `--` if it begins with a dash, or without a folder.
    #[arg(allow_negative_numbers = true)]
    args: Vec<String>,
    // The same, behind `--`.
    #[arg(last = true, value_name = "ARGS", hide = true)]
    behind: Vec<String>,
    /// Take the vats that this file names, instead of a folder's.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the vats and their ledger in this directory, or go on with those that it has.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Megabytes of memory that each vat may use [default: 256].
    #[arg(long, value_parser = clap::value_parser!(u32).range(4..=1024))]
    heap_mib: Option<u32>,
    /// WebAssembly instructions that one delivery may take [default: 5000000000, about a second].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000_000..=1_000_000_000_000))]
    instructions: Option<u64>,
    /// Add a device; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = ["mailbox", "timer", "command"])]
    device: Vec<String>,
    /// Add a vat of Glassbox's own, with the device that it cannot be without; may be given several times.
    #[arg(long, value_name = "VAT", value_parser = ["comms", "vattp", "timer", "vatAdmin", "http"])]
    with: Vec<String>,
    /// Say what is loaded and how it begins; show console.debug.
    #[arg(short, long)]
    verbose: bool,
    /// Transactions between two checkpoints.
    #[arg(long, hide = true, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    checkpoint_every: Option<u64>,
}

/// What vats of today expect to be there.
const TODAY: [&str; 4] = ["vatAdmin", "comms", "vattp", "timer"];

/// And their devices.
const TODAY_DEVICES: [&str; 3] = ["vatAdmin", "mailbox", "timer"];

/// Vats of ours that are nothing without the device of the same name.
const NEEDS_ITS_DEVICE: [&str; 3] = ["http", "timer", "vatAdmin"];

/// The number of the loopbox; the others follow.
const FIRST_DEVICE: usize = 7;

/// What begins in a new directory, or in memory.
struct Prepared {
    install: Install,
    /// Of the folder, or of the configuration.
    name: String,
    /// Where the modules' paths begin.
    root: PathBuf,
}

impl Vats {
    /// Refuses a first word that was meant as a command.
    fn expect_no_command(&self) -> Result<(), Failed> {
        match &self.basedir {
            Some(word) if self.config.is_none() && !word.is_dir() => Err(Failed::unable(format!(
                "use 'vat run', 'vat shell', 'vat serve' or 'vat trace', not 'vat {}'",
                word.display()
            ))),
            _ => Ok(()),
        }
    }

    /// The folder that was named, and what `bootstrap` is given. A configuration takes the folder's place.
    fn words(&self) -> Result<(Option<PathBuf>, Vec<String>), Failed> {
        let (basedir, first) = match (&self.config, &self.basedir) {
            (None, basedir) => (basedir.clone(), None),
            (Some(_), word) => (None, word.as_ref().map(|word| word.to_string_lossy().into_owned())),
        };
        let before: Vec<String> = first.into_iter().chain(self.args.iter().cloned()).collect();
        match (before.is_empty(), self.behind.is_empty()) {
            (_, true) => Ok((basedir, before)),
            (true, false) => Ok((basedir, self.behind.clone())),
            (false, false) => Err(Failed::unable("what bootstrap is given stands either before or behind the --")),
        }
    }

    /// Whether vats are kept in a directory, and no others are named.
    fn only_goes_on(&self, dir: &Path) -> bool {
        self.basedir.is_none() && self.config.is_none() && is_kept(dir)
    }

    /// What an existing directory must have.
    fn said(&self) -> Result<Said, Failed> {
        Ok(Said {
            argv: self.words()?.1,
            devices: self.device.clone(),
            builtin: self.with.clone(),
            root: None,
            heap_bytes: self.heap_mib.map(|mib| mib << 20),
            instructions: self.instructions,
        })
    }

    /// Reads the sources. `always`: vats of ours that are added in any case.
    fn prepare(&self, always: &[&str]) -> Result<Prepared, Failed> {
        let (basedir, argv) = self.words()?;
        let basedir = basedir.unwrap_or_else(|| ".".into());
        let (root, loaded) = match &self.config {
            Some(file) => {
                self.say(|| format!("= loading config from {}", file.display()));
                (file.parent().unwrap_or(Path::new("")).to_owned(), load::load_config(file))
            }
            None if is_kept(&basedir) && !basedir.join("bootstrap.js").is_file() => {
                let kept = basedir.display();
                return Err(Failed::unable(format!(
                    "{kept} has no sources, but something that is kept: name it as --dir {kept}"
                )));
            }
            None => {
                self.say(|| format!("= loading config from basedir {}", basedir.display()));
                (basedir.clone(), load::load(&basedir))
            }
        };
        let Loaded { source, dialects, ignored } = loaded.map_err(Failed::new)?;
        for name in ignored {
            self.say(|| format!("ignoring  {name}"));
        }
        let name = match &self.config {
            Some(file) => file.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
            None => std::fs::canonicalize(&basedir).ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
        };
        let mut install = Install::new(source, argv);
        let is_of_2019 = dialects.get(&install.source.bootstrap).is_some_and(|dialect| dialect.is_of_2019());
        let asked = self.with.iter().map(String::as_str).chain(always.iter().copied());
        install.builtin = in_order(TODAY.into_iter().filter(|_| !is_of_2019).chain(asked.clone()));
        let needed = asked.filter(|vat| NEEDS_ITS_DEVICE.contains(vat));
        let devices = self.device.iter().map(String::as_str).chain(needed);
        install.devices = in_order(TODAY_DEVICES.into_iter().filter(|_| !is_of_2019).chain(devices));
        install.settings = Settings {
            heap_bytes: self.heap_mib.map_or(install.settings.heap_bytes, |mib| mib << 20),
            instructions: self.instructions.unwrap_or(install.settings.instructions),
            ..install.settings
        };
        Ok(Prepared { install, name: name.unwrap_or_else(|| "vats".into()), root })
    }

    /// How a directory is opened, or made.
    fn options(&self, dir: PathBuf, prepared: Option<Prepared>, said: Said) -> Options {
        let title = prepared.as_ref().map_or("vats", |prepared| &prepared.name);
        Options {
            dir,
            title: format!("{title} files"),
            app: App::Vats { install: prepared.map(|prepared| Box::new(prepared.install)), said: Box::new(said) },
            upgrade: false,
            oracles: Oracles::default(),
            checkpoint_every: self.checkpoint_every,
        }
    }

    /// The vats, ready to run: in memory or in their directory. Needs a thread with [`sandbox::THREAD_STACK_BYTES`] of stack.
    fn session(&self, console: Console) -> Result<Session, Failed> {
        let Some(dir) = &self.dir else {
            let prepared = self.prepare(&[])?;
            self.announce(&prepared, None);
            let mut session = Session::in_memory(&prepared.install, console).map_err(Failed::new)?;
            self.introduce(&mut session);
            return Ok(session);
        };
        let prepared = if self.only_goes_on(dir) { None } else { Some(self.prepare(&[])?) };
        if let Some(prepared) = &prepared {
            self.announce(prepared, Some(dir));
        }
        let dir = std::path::absolute(dir).map_err(|error| Failed::new(format!("{}: {error}", dir.display())))?;
        let node = Node::start(&self.options(dir, prepared, self.said()?), console).map_err(Failed::new)?;
        let fresh = node.fresh;
        let mut session = Session::Kept(Box::new(node));
        if fresh {
            self.introduce(&mut session);
        }
        Ok(session)
    }

    fn say(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            let _ = writeln!(std::io::stdout(), "{}", line());
        }
    }

    /// What is said before anything runs. The numbers are those that the kernel gives: in this order, from 1.
    fn announce(&self, Prepared { install, root, .. }: &Prepared, dir: Option<&Path>) {
        let goes_on = dir.is_some_and(is_kept);
        self.say(|| "kernel.addDevice(loopbox)".into());
        for device in &install.devices {
            self.say(|| format!("kernel.addDevice({device})"));
        }
        for vat in &install.source.vats {
            let path = root.join(vat.module.trim_start_matches('/'));
            self.say(|| format!("= adding vat '{}' from {}", vat.name, path.display()));
        }
        let is_new = |name: &&String| install.source.vats.iter().all(|vat| vat.name != **name);
        for name in install.builtin.iter().filter(is_new) {
            let module = BUILTIN.iter().find(|(builtin, ..)| builtin == name).map_or("", |(_, module, _)| module);
            self.say(|| format!("= adding vat '{name}' from {module}"));
        }
        self.say(|| format!("wasInitialized = {goes_on}"));
        if goes_on {
            return;
        }
        let names = install.source.vats.iter().map(|vat| &vat.name).chain(install.builtin.iter().filter(is_new));
        for (n, name) in names.enumerate() {
            self.say(|| format!("Assigned VatID v{} for Genesis vat {name}", n + 1));
        }
    }

    /// What is said when all vats have begun.
    fn introduce(&self, session: &mut Session) {
        if !self.verbose {
            return;
        }
        println!("=> queueing bootstrap()");
        let Some(vats) = session.machine().as_vats() else { return };
        let mut named: Vec<_> = vats.dump().vat_tables.into_iter().map(|vat| (vat.name, vat.vat_id)).collect();
        named.sort();
        for (name, vat) in named {
            println!("adding vref {name} [{vat}]");
        }
        let added = vats.installed().map(|install| install.devices.as_slice()).unwrap_or_default();
        for (n, name) in std::iter::once("loopbox").chain(added.iter().map(String::as_str)).enumerate() {
            println!("adding dref {name} [d{}]", FIRST_DEVICE + n);
        }
    }
}

/// Whether a directory holds something of ours.
fn is_kept(dir: &Path) -> bool {
    dir.join("glassbox.json").is_file()
}

/// Each name once, where it comes first.
fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        if !all.iter().any(|known| known == name) {
            all.push(name.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// The command, the folder, what `bootstrap` is given.
    fn parsed(line: &str) -> Result<(&'static str, Option<String>, Vec<String>), String> {
        let cli =
            Cli::try_parse_from(std::iter::once("vat").chain(line.split_whitespace())).map_err(|error| error.to_string())?;
        let (name, vats) = match cli.args.command {
            None => {
                cli.args.run.vats.expect_no_command().map_err(|failed| failed.message)?;
                ("run", cli.args.run.vats)
            }
            Some(Command::Run(args)) => ("run", args.vats),
            Some(Command::Shell(args)) => ("shell", args.vats),
            Some(Command::Serve(args)) => ("serve", args.vats),
            Some(Command::Trace(args)) => ("trace", args.vats),
        };
        let (basedir, argv) = vats.words().map_err(|failed| failed.message)?;
        Ok((name, basedir.map(|path| path.display().to_string()), argv))
    }

    #[test]
    fn how_a_command_line_is_read() {
        // `src` is a folder where the tests run.
        for (line, command, basedir, argv) in [
            ("", "run", None, &[][..]),
            ("run", "run", None, &[]),
            ("shell", "shell", None, &[]),
            ("serve", "serve", None, &[]),
            ("trace", "trace", None, &[]),
            ("src", "run", Some("src"), &[]),
            ("src x1 x2", "run", Some("src"), &["x1", "x2"]),
            ("src -- x1 x2", "run", Some("src"), &["x1", "x2"]),
            ("-- x1", "run", None, &["x1"]),
            ("run src", "run", Some("src"), &[]),
            ("run src x1 x2", "run", Some("src"), &["x1", "x2"]),
            ("run src -- x1 -x2", "run", Some("src"), &["x1", "-x2"]),
            ("run src -5", "run", Some("src"), &["-5"]),
            ("run -- x1", "run", None, &["x1"]),
            ("run -- run --verbose", "run", None, &["run", "--verbose"]),
            ("run -c app.json x1", "run", None, &["x1"]),
            ("run -c app.json", "run", None, &[]),
            ("-c app.json -- x1", "run", None, &["x1"]),
            ("run --dir kept", "run", None, &[]),
            ("run nowhere", "run", Some("nowhere"), &[]),
            ("src run", "run", Some("src"), &["run"]),
            ("shell src -v", "shell", Some("src"), &[]),
            ("trace src --dot x1", "trace", Some("src"), &["x1"]),
            ("serve src -p 0 --root counter", "serve", Some("src"), &[]),
            ("run src --with comms --with vattp --device mailbox", "run", Some("src"), &[]),
        ] {
            let argv = argv.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(parsed(line), Ok((command, basedir.map(str::to_owned), argv)), "vat {line}");
        }
        for (line, message) in [
            ("rum", "use 'vat run', 'vat shell', 'vat serve' or 'vat trace', not 'vat rum'"),
            ("nowhere x1", "not 'vat nowhere'"),
            ("-v run src", "not 'vat run'"),
            ("run src x1 -- x2", "either before or behind"),
            ("run src --device loopbox", "invalid value 'loopbox'"),
            ("run src --with zoe", "invalid value 'zoe'"),
            ("run src --heap-mib 2", "2 is not in 4..=1024"),
            ("run src --instructions 1", "1 is not in 1000000..=1000000000000"),
            ("trace src --dot --json", "cannot be used with"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(message), "vat {line}: {error}");
        }
    }

    #[test]
    fn arguments_are_listed_once() {
        use clap::CommandFactory;
        let help = Cli::command().render_long_help().to_string();
        assert_eq!(help.lines().filter(|line| line.trim_start().starts_with("[ARGS]...")).count(), 1, "{help}");
    }

    #[test]
    fn each_name_once() {
        assert_eq!(in_order(["vatAdmin", "timer", "http", "timer"].into_iter()), ["vatAdmin", "timer", "http"]);
    }
}
