//! The service's log: a line for each request, the console of handlers. Written by a thread of its own; what comes faster than
//! it can be written is counted and left out.

use sandbox::Level;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait to be written.
const WAITING: usize = 16_384;

/// Bytes that are written at once.
const BATCH_BYTES: usize = 64 << 10;

/// How long a line may wait for others to be written with.
const TOGETHER: Duration = Duration::from_millis(10);

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

/// Ends when nobody has the journal any more.
fn write(mut out: Box<dyn Write + Send>, lines: &Receiver<(u64, String)>, left_out: &AtomicU64) {
    let mut text = String::new();
    while let Ok(first) = lines.recv() {
        for (time_ms, line) in std::iter::once(first).chain(lines.try_iter()) {
            put(&mut text, time_ms, &line);
            if text.len() >= BATCH_BYTES {
                break;
            }
        }
        let is_full = text.len() >= BATCH_BYTES;
        let missing = left_out.swap(0, Relaxed);
        if missing > 0 {
            put(&mut text, crate::admit::now_ms(), &format!("[fail ][app] glassbox | {missing} lines were left out here"));
        }
        // A log that cannot be written is no reason to stop.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        text.clear();
        if !is_full {
            // Lines that come one by one are written together.
            std::thread::sleep(TOGETHER);
        }
    }
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
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

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
    /// Hands on what is written, once it may.
    struct Gate(Arc<Mutex<()>>, Sender<String>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _open = self.0.lock().unwrap();
            let _ = self.1.send(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_in_order_and_what_is_left_out_is_counted() {
        // More than can wait, and than is taken at once before the first of them is written.
        const LINES: usize = WAITING + 5_000;
        let (gate, (tell, told)) = (Arc::new(Mutex::new(())), channel());
        let closed = gate.lock().unwrap();
        let journal = Journal::new(Box::new(Gate(gate.clone(), tell))).unwrap();
        for number in 0..LINES {
            journal.line("info", &format!("line {number}"));
        }
        drop(closed);
        drop(journal);
        let text: String = told.iter().collect();
        let numbers: Vec<usize> = text.lines().filter_map(|line| line.rsplit_once("line ")?.1.parse().ok()).collect();
        assert!(numbers.is_sorted());
        let missing = text.lines().filter_map(|line| line.strip_suffix(" lines were left out here")?.rsplit_once(' '));
        let missing: usize = missing.map(|(_, count)| count.parse::<usize>().unwrap()).sum();
        assert!(missing > 0);
        assert_eq!(numbers.len() + missing, LINES);
    }
}
