//! The real server as a child process, and what it costs: CPU, memory, disk, time until it serves.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a start, a stop or an audit may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a stop is looked at.
const POLL: Duration = Duration::from_millis(2);

/// `/proc` counts CPU time in hundredths of a second, whatever the kernel's own tick is.
const US_PER_TICK: f64 = 10_000.0;

/// A server that serves. Killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub port: u16,
    /// From before its process was made until its last line: it serves.
    pub serving_after: Duration,
}

/// CPU time of a process, all its threads, also those that have ended.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// Microseconds in its own code.
    pub user_us: f64,
    /// Microseconds in the kernel.
    pub system_us: f64,
}

impl Cpu {
    /// Both.
    pub fn total_us(self) -> f64 {
        self.user_us + self.system_us
    }
}

impl std::ops::Sub for Cpu {
    type Output = Cpu;
    fn sub(self, before: Cpu) -> Cpu {
        Cpu { user_us: self.user_us - before.user_us, system_us: self.system_us - before.system_us }
    }
}

impl Server {
    /// Starts `glassbox exec` and waits until it serves. What it says on stderr goes to `DIR.log`.
    pub fn start(binary: &Path, script: &Path, dir: &Path) -> Result<Server, String> {
        let mut command = Command::new(binary);
        command.arg("exec").arg(script).args(["-p", "0", "--dir"]).arg(dir);
        Server::wait(binary, command, dir, "Serving at localhost:", "Call log:")
    }

    /// Starts `glassbox sandbox` and waits until it serves. What it says on stderr goes to `WORKSPACE.log`.
    pub fn sandbox(binary: &Path, bundle: &Path, workspace: &Path) -> Result<Server, String> {
        let mut command = Command::new(binary);
        command.args(["sandbox", "--node", "127.0.0.1:0", "--js-app-bundle"]).arg(bundle).arg("--workspace").arg(workspace);
        Server::wait(binary, command, workspace, "  Node [0] = https://127.0.0.1:", "Press Ctrl+C")
    }

    /// `port`: what stands before the port; `last`: how the line begins after which it serves.
    fn wait(binary: &Path, mut command: Command, dir: &Path, port: &'static str, last: &'static str) -> Result<Server, String> {
        let log = dir.with_extension("log");
        let stderr = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let began = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", binary.display()))?;
        let stdout = child.stdout.take().expect("it is piped");
        let (tell, told) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut found = None;
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix(port) {
                    found = address.parse::<u16>().ok();
                }
                if line.starts_with(last) {
                    let _ = tell.send((found, began.elapsed()));
                }
            }
        });
        let served = told.recv_timeout(PATIENCE);
        let mut server = Server { child, port: 0, serving_after: Duration::ZERO };
        // The thread ends with the server's output.
        drop(reader);
        match served {
            Ok((Some(port), serving_after)) => {
                (server.port, server.serving_after) = (port, serving_after);
                Ok(server)
            }
            _ => {
                let _ = server.child.kill();
                Err(format!("the server does not start: {}", fs::read_to_string(log).unwrap_or_default().trim_end()))
            }
        }
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Result<Cpu, String> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        // The name may hold anything, so the fields are counted from behind its parenthesis.
        let mut fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok());
        match (ticks(), ticks()) {
            (Some(user), Some(system)) => Ok(Cpu { user_us: user * US_PER_TICK, system_us: system * US_PER_TICK }),
            _ => Err(format!("{path} is not as expected")),
        }
    }

    /// Resident memory in MB.
    pub fn rss_mb(&self) -> Result<f64, String> {
        memory_mb(self.child.id(), "VmRSS:").ok_or_else(|| "the server's memory cannot be read".into())
    }

    /// Ends it as an operator would.
    pub fn stop(mut self) -> Result<(), String> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, Signal::SIGTERM).map_err(|error| format!("the server cannot be told to stop: {error}"))?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the server ended with {status}")),
                Ok(None) => std::thread::sleep(POLL),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("the server does not stop".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of a process's status, in MB.
fn memory_mb(pid: u32, name: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0 / 1e6)
}

/// What a finished command took.
pub struct Ran {
    /// The most memory that was resident, in MB, as it was seen last.
    pub peak_mb: f64,
    /// CPU milliseconds.
    pub cpu_ms: f64,
    /// Milliseconds.
    pub elapsed_ms: f64,
}

/// Runs the audit of a directory; the error is the first line that it said.
pub fn verify(binary: &Path, dir: &Path, jobs: u32) -> Result<Ran, String> {
    let jobs = jobs.to_string();
    let args = [OsStr::new("verify"), dir.as_os_str(), OsStr::new("--jobs"), OsStr::new(&jobs)];
    run(binary, &args, &dir.with_extension("log"))
}

/// Runs a command to its end; the error is the first line that it said, for which `log` has room.
pub fn run(binary: &Path, args: &[&OsStr], log: &Path) -> Result<Ran, String> {
    let stderr = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let before = children_ms()?;
    let began = Instant::now();
    let mut child = Command::new(binary)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    let mut peak_mb = 0.0;
    let status = loop {
        // Nothing of an ended process is left to read.
        peak_mb = memory_mb(child.id(), "VmHWM:").unwrap_or(peak_mb);
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if began.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("it does not end".into());
            }
            None => std::thread::sleep(POLL),
        }
    };
    let ran = Ran { peak_mb, elapsed_ms: began.elapsed().as_secs_f64() * 1e3, cpu_ms: children_ms()? - before };
    if status.success() {
        return Ok(ran);
    }
    let said = fs::read_to_string(log).unwrap_or_default();
    Err(said.lines().next().unwrap_or("it fails without a word").chars().take(80).collect())
}

/// CPU time of all children that have been waited for. Only one is ever waited for at a time.
fn children_ms() -> Result<f64, String> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let ms = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
    Ok(ms(usage.user_time()) + ms(usage.system_time()))
}

/// Bytes of a folder: as the files say, and as the disk has set aside for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskBytes {
    /// The sum of the files' lengths.
    pub apparent: u64,
    /// The sum of their blocks: less where a file has holes.
    pub allocated: u64,
}

/// Measures a folder and what is in it.
pub fn disk_bytes(dir: &Path) -> Result<DiskBytes, String> {
    let mut sum = DiskBytes::default();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let error = |error: std::io::Error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(error)? {
            let entry = entry.map_err(error)?;
            let metadata = entry.metadata().map_err(error)?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                sum.apparent += metadata.len();
                sum.allocated += metadata.blocks() * 512;
            }
        }
    }
    Ok(sum)
}
