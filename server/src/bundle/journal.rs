//! The service's log: a line for each request, the console of handlers. Written by a thread of its own; what comes faster than
//! it can be written is counted and left out.

use sandbox::Level;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait to be written.
const WAITING: usize = 16_384;

/// How long a line stays unwritten at most.
const FLUSH: Duration = Duration::from_millis(100);

/// Where lines go. Clones write to the same.
#[derive(Clone)]
pub struct Journal {
    lines: SyncSender<(u64, String)>,
    left_out: Arc<AtomicU64>,
}

impl Journal {
    /// A journal that writes here.
    pub fn new(out: Box<dyn Write + Send>) -> std::io::Result<Journal> {
        let (lines, waiting) = sync_channel(WAITING);
        let left_out = Arc::<AtomicU64>::default();
        let count = left_out.clone();
        std::thread::Builder::new().name("journal".into()).spawn(move || write(out, &waiting, &count))?;
        Ok(Journal { lines, left_out })
    }

    /// A line of a level: `info`, `fail`, `fatal`.
    pub fn line(&self, level: &str, text: &str) {
        self.send(format!("[{level:<5}][js] glassbox | {text}"));
    }

    /// A request was executed.
    pub fn executed(&self, method: &str, route: &str, status: u16, ms: u128) {
        self.send(format!(
            "[info ][js] glassbox | JS execution complete: Method={method}, Path={route}, Status={status}, ExecMilliseconds={ms}"
        ));
    }

    /// A line of a handler's console.
    pub fn console(&self, level: Level, text: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "fail",
            Level::Error => "fatal",
        };
        self.send(format!("[{level:<5}][app] js | {text}"));
    }

    fn send(&self, line: String) {
        if self.lines.try_send((crate::admit::now_ms(), line)).is_err() {
            self.left_out.fetch_add(1, Relaxed);
        }
    }
}

fn write(mut out: Box<dyn Write + Send>, lines: &Receiver<(u64, String)>, left_out: &AtomicU64) {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(FLUSH) {
            Ok((time_ms, line)) => {
                put(&mut text, time_ms, &line);
                if text.len() < 64 << 10 && lines_wait(lines, &mut text) {
                    continue;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                return;
            }
        }
        let missing = left_out.swap(0, Relaxed);
        if missing > 0 {
            put(&mut text, crate::admit::now_ms(), &format!("[fail ][app] glassbox | {missing} lines were left out here"));
        }
        if !text.is_empty() {
            // A log that cannot be written is no reason to stop.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            text.clear();
        }
        if text.is_empty() && missing == 0 {
            // Lines that come one by one are written together.
            std::thread::sleep(FLUSH / 10);
        }
    }
}

/// Takes what is there.
fn lines_wait(lines: &Receiver<(u64, String)>, text: &mut String) -> bool {
    for (time_ms, line) in lines.try_iter() {
        put(text, time_ms, &line);
        if text.len() > 64 << 10 {
            break;
        }
    }
    false
}

/// `2026-01-31T12:00:00.000Z `, and the line.
fn put(text: &mut String, time_ms: u64, line: &str) {
    let (days, ms) = (time_ms / 86_400_000, time_ms % 86_400_000);
    // From days to a date in the Gregorian calendar, whose years begin in March here: leap days come last.
    let era_day = days + 719_468;
    let (era, day) = (era_day / 146_097, era_day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let ms = ms % 1_000;
    let _ = writeln!(text, "{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let shown = |time_ms| {
            let mut text = String::new();
            put(&mut text, time_ms, "x");
            text
        };
        assert_eq!(shown(0), "1970-01-01T00:00:00.000Z x\n");
        assert_eq!(shown(951_782_400_000), "2000-02-29T00:00:00.000Z x\n");
        assert_eq!(shown(1_767_225_599_999), "2025-12-31T23:59:59.999Z x\n");
    }
}
