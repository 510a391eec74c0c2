//! What the tests share: a folder of their own, and a server that ends with the test.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The command under test.
pub fn glassbox() -> Command {
    Command::new(env!("CARGO_BIN_EXE_glassbox"))
}

/// Runs the command to its end.
pub fn run(args: &[&str]) -> Output {
    glassbox().args(args).output().expect("the command starts")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A script of the repository's `examples`.
pub fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder with a script in it, where servers can be started again and again.
pub struct Place {
    root: TempDir,
    script: String,
}

impl Place {
    /// `name` is the script's file name.
    pub fn new(name: &str, source: &str) -> Place {
        let place = Place { root: tempfile::tempdir().expect("a folder"), script: name.into() };
        place.edit(source);
        place
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn script(&self) -> PathBuf {
        self.root().join(&self.script)
    }

    /// Writes the script anew.
    pub fn edit(&self, source: &str) {
        std::fs::write(self.script(), source).expect("the script is written");
    }

    /// The directory that the server keeps.
    pub fn dir(&self) -> PathBuf {
        self.script().with_extension("")
    }

    /// `exec`, not yet started.
    pub fn exec(&self, args: &[&str]) -> Command {
        let mut command = glassbox();
        command.arg("exec").arg(self.script()).args(["-p", "0"]).args(args).current_dir(self.root());
        command
    }

    /// Starts a server and waits until it serves.
    pub fn serve(&self, args: &[&str]) -> Server {
        self.serve_as(self.exec(args))
    }

    /// The same for a command that was made by [`Place::exec`] and changed.
    pub fn serve_as(&self, mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the server starts");
        let errors = Arc::new(Mutex::new(String::new()));
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let collected = errors.clone();
        let collector = std::thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|read| read > 0) {
                collected.lock().expect("not poisoned").push_str(&std::mem::take(&mut line));
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut banner = String::new();
        while !banner.contains("Call log: ") {
            let read = stdout.read_line(&mut banner).expect("readable");
            if read == 0 {
                let mut rest = String::new();
                let _ = stdout.read_to_string(&mut rest);
                panic!("the server ended: {:?}\n{banner}{rest}\n{}", child.wait(), errors.lock().expect("not poisoned"));
            }
        }
        let port = banner.lines().find_map(|line| line.strip_prefix("Serving at localhost:")).expect("a port").to_owned();
        Server { child, url: format!("localhost:{port}"), banner, errors, collector: Some(collector) }
    }
}

/// A running server. It is killed with the value.
pub struct Server {
    child: Child,
    /// `localhost:PORT`
    pub url: String,
    /// What it printed when it began to serve.
    pub banner: String,
    errors: Arc<Mutex<String>>,
    collector: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr so far.
    pub fn log(&self) -> String {
        self.errors.lock().expect("not poisoned").clone()
    }

    /// `kill -9`
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// `kill -9`, and all that it has written to stderr.
    pub fn kill_and_log(mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(collector) = self.collector.take() {
            let _ = collector.join();
        }
        self.log()
    }

    /// Waits for its own end: the exit code, and what it has written to stderr. Killed if that takes longer than a minute.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while self.child.try_wait().expect("it can be waited for").is_none() && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        let _ = self.child.kill();
        let code = self.child.wait().expect("it ends").code();
        if let Some(collector) = self.collector.take() {
            let _ = collector.join();
        }
        (code, self.log())
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        self.child.wait().expect("it ends").code()
    }

    /// `glassbox call`
    pub fn call(&self, args: &[&str]) -> Output {
        run(&[&["call", &self.url], args].concat())
    }

    /// `glassbox call` that must succeed: its stdout without the line end.
    pub fn ask(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output).trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
