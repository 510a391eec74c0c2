//! `kill -9` at random moments under load, again and again, and then the accounts: what was acknowledged is there, once, in
//! the order in which each client sent it, and everything replays.
//!
//! `GLASSBOX_KILLS=500` for more kills than the default, `GLASSBOX_SEED=…` for the same moments again.

use crate::raw::{Socket, logged};
use crate::support::Place;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const CLIENTS: u64 = 8;

/// Calls that a client has under way at once.
const WINDOW: u64 = 6;

const SCRIPT: &str = "
const counts = {}
let calls = 0
exports.add = async (client, n) => {
  counts[client] = (counts[client] || 0) + 1
  calls++
  await System.files.writeFile('/client-' + client, (await System.files.readFile('/client-' + client, 'json').catch(() => '') || '') + n + ' ', 'json')
  if (n % 10 == 9) throw new RangeError('every tenth: ' + n)
  return [client, n, counts[client]]
}
exports.state = async () => {
  const files = {}
  for (const name of await System.files.readdir('/')) if (name != 'dat.json') files[name] = await System.files.readFile('/' + name, 'json')
  return { calls, counts, files }
}";

/// xorshift64*: the moments of the kills.
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// One client's calls until the server is gone. `next` is the number of its next call; an acknowledged one is noted.
fn load(
    url: &str,
    client: u64,
    next: &mut u64,
    acknowledged: &Mutex<BTreeMap<(u64, u64), bool>>,
    count: &AtomicU64,
    over: &AtomicBool,
) {
    let Ok(mut socket) = Socket::try_connect(url, "/") else { return };
    let mut sent = BTreeMap::new();
    loop {
        while (sent.len() as u64) < WINDOW && !over.load(SeqCst) {
            let text = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"add\",\"params\":[{client},{next}],\"id\":{next}}}");
            sent.insert(*next, ());
            *next += 1;
            if socket.try_send(tungstenite::Message::text(text)).is_err() {
                return;
            }
        }
        let Ok((n, reply)) = socket.end() else { return };
        assert!(sent.remove(&n).is_some(), "a reply to what was not asked");
        assert_eq!(reply.is_err(), n % 10 == 9, "{n}: {reply:?}");
        assert!(acknowledged.lock().expect("not poisoned").insert((client, n), reply.is_ok()).is_none());
        count.fetch_add(1, SeqCst);
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_under_load() {
    let kills = number("GLASSBOX_KILLS").unwrap_or(50);
    let seed = number("GLASSBOX_SEED").unwrap_or_else(|| std::process::id().into());
    println!("GLASSBOX_KILLS={kills} GLASSBOX_SEED={seed}");
    let mut moments = Moments(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let place = Place::new("ledger.js", SCRIPT);
    let acknowledged = Mutex::new(BTreeMap::new());
    let mut next = [0; CLIENTS as usize];
    let mut torn = 0;
    for _ in 0..kills {
        let server = place.serve(&[]);
        let url = server.url.clone();
        // After so many replies, and a moment more: not only right behind a reply.
        let (replies, spins) = (moments.below(40), moments.below(3_000));
        let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for (client, next) in next.iter_mut().enumerate() {
                let (url, acknowledged, count, over) = (&url, &acknowledged, &count, &over);
                scope.spawn(move || load(url, client as u64, next, acknowledged, count, over));
            }
            let until = Instant::now() + Duration::from_secs(30);
            while count.load(SeqCst) < replies && Instant::now() < until {
                std::thread::yield_now();
            }
            let until = Instant::now() + Duration::from_micros(spins);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            over.store(true, SeqCst);
            torn += u64::from(server.log().contains("Recovered"));
            server.kill();
        });
    }

    // The restart replays everything, or refuses.
    let server = place.serve(&[]);
    let state: serde_json::Value = serde_json::from_str(&Socket::connect(&server.url).result("state", "[]")).expect("JSON");
    assert_eq!(server.stop(), Some(0));
    let log = logged(&place.dir());
    let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let acknowledged = acknowledged.into_inner().expect("not poisoned");
    let mut missing = acknowledged.clone();
    let mut executed = 0;
    for (method, args, reply) in &log {
        if method != "add" {
            continue;
        }
        let (client, n): (u64, u64) = serde_json::from_str(args).expect("two numbers");
        if let Some(ok) = missing.remove(&(client, n)) {
            assert_eq!(reply.is_ok(), ok, "{client} {n}");
        }
        let calls = seen.entry(client).or_default();
        assert!(calls.last().is_none_or(|&last| last < n), "client {client}: {n} is there twice, or after {:?}", calls.last());
        calls.push(n);
        executed += 1;
    }
    assert!(missing.is_empty(), "acknowledged, and not in the ledger: {missing:?}");
    // What the script remembers, in memory and in its files, is what the ledger says.
    let succeeded = |calls: &[u64]| calls.iter().copied().filter(|n| n % 10 != 9).collect::<Vec<u64>>();
    let mut total = 0;
    for (client, calls) in &seen {
        let good = succeeded(calls);
        total += good.len();
        assert_eq!(state["counts"][client.to_string()], good.len(), "client {client}");
        let text: String = good.iter().map(|n| format!("{n} ")).collect();
        assert_eq!(state["files"][format!("client-{client}")], text, "client {client}");
    }
    assert_eq!(state["calls"], total);
    assert!(acknowledged.len() as u64 > kills, "there was load: {} acknowledged", acknowledged.len());
    println!("{kills} kills, {} calls acknowledged, {executed} in the ledger, {torn} torn tails", acknowledged.len());
}
