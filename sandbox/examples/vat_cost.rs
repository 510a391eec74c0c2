//! Prints what vats cost, in CPU time of this thread: `cargo run --release -p sandbox --example vat_cost`.
use sandbox::{Answer, Consult, Fault, Host, Level, Limits, OracleAnswer, Outcome, PAGE_BYTES, Realm, Sandbox};
use std::time::Duration;

struct Kernel;

const SOURCE: &str = r#"
    export default function setup(syscall) {
        let n = 0;
        const kept = [];
        return {
            deliver(target, method, args, result) {
                if (method === 'send') syscall.send('o-1', 'hello', { body: '{"@qclass":"slot","index":0}', slots: ['o+1'] }, 'p+5');
                if (method === 'keep') for (let i = 0; i < 3000; i++) kept.push({ i, text: 'entry ' + i });
                n++;
            },
            notifyFulfillToData() {}, notifyFulfillToPresence() {}, notifyReject() {},
        };
    }
"#;

impl Host for Kernel {
    fn console(&mut self, level: Level, line: &str) {
        println!("  console {level:?}: {line}");
    }
    fn seed(&mut self) -> Result<u64, Fault> {
        Ok(0)
    }
    fn consult(&mut self) -> Result<Consult, Fault> {
        Ok(Consult::Recorded(Ok(None)))
    }
    fn consulted(&mut self, _: &OracleAnswer) {}
    fn ask(&mut self, op: u32, _: &str, _: &[u8], _: &mut u64) -> Result<Answer, Fault> {
        Ok(if op == 31 { Answer::Text(SOURCE.into()) } else { Answer::Nothing })
    }
}

const LIMITS: Limits = Limits { heap_bytes: 64 << 20, stack_bytes: 256 << 10, instructions: 1_000_000_000 };
const START: [&str; 3] = [r#"{"name":"v","vatID":"v1","module":"/vat.js","upgrade":false}"#, "[]", ""];

fn main() {
    std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES).spawn(run).expect("a thread").join().expect("no panic");
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let mut time = std::mem::MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `time` has room for what the call writes; all-zero bytes are a valid timespec if it fails.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr());
        time.assume_init()
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn status(name: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    text.lines().find(|line| line.starts_with(name)).unwrap_or_default().split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

fn timed<T>(what: &str, n: u32, mut work: impl FnMut(u32) -> T) -> Vec<T> {
    let mut results = Vec::with_capacity(n as usize);
    let start = cpu();
    results.extend((0..n).map(&mut work));
    println!("{what}: {:.2} µs", (cpu() - start).as_secs_f64() * 1e6 / f64::from(n));
    results
}

fn vat(sandbox: &Sandbox) -> Realm<Kernel> {
    Realm::vat(sandbox, LIMITS, Kernel).expect("a vat")
}

fn deliver(realm: &mut Realm<Kernel>, kind: &str, fields: &[&str]) {
    let outcome = realm.deliver(kind, fields).expect("no fault");
    assert!(matches!(outcome, Outcome::Nothing | Outcome::Value(_)), "{outcome:?}");
}

fn message(realm: &mut Realm<Kernel>, method: &str) {
    deliver(realm, "message", &["o+0", "1", method, r#"["hello"]"#, "", "p-60"]);
}

fn run() {
    let start = cpu();
    let sandbox = Sandbox::new().expect("the sandbox starts");
    println!("Sandbox::new: {:?}", cpu() - start);
    let start = cpu();
    let sandbox = sandbox.vats().expect("vats");
    println!("Sandbox::vats: {:?}", cpu() - start);

    let mut realm = vat(&sandbox);
    println!("heap {} KiB", realm.heap_bytes() / 1024);
    deliver(&mut realm, "startVat", &START);
    println!("pages of a vat that has started: {}", realm.saved_pages().expect("pages").count());

    drop(timed("Realm::vat and drop", 2000, |_| drop(vat(&sandbox))));
    let mut realms = timed("Realm::vat", 1000, |_| vat(&sandbox));
    println!("  1,000 of them: {} of their own, {} shared, {} maps", status("RssAnon"), status("RssShmem"), maps());
    timed("startVat", 1000, |i| deliver(&mut realms[i as usize], "startVat", &START));
    println!("  1,000 of them: {} of their own, {} shared, {} maps", status("RssAnon"), status("RssShmem"), maps());
    timed("the first delivery", 1000, |i| message(&mut realms[i as usize], "send"));
    println!("  1,000 of them: {} of their own", status("RssAnon"));
    timed("one delivery to each of 1,000", 1000, |i| message(&mut realms[i as usize], "send"));
    timed("bringOutYourDead, each", 1000, |i| deliver(&mut realms[i as usize], "bringOutYourDead", &[]));
    println!("  1,000 of them: {} of their own", status("RssAnon"));
    timed("trim", 1000, |i| realms[i as usize].trim().expect("trimmed"));
    println!("  1,000 of them: {} of their own", status("RssAnon"));
    timed("drop", 1000, |_| drop(realms.pop()));

    for _ in 0..1000 {
        message(&mut realm, "plain");
        message(&mut realm, "send");
    }
    timed("a delivery", 100_000, |_| message(&mut realm, "plain"));
    println!("  {} instructions", realm.instructions());
    timed("a delivery with a syscall", 100_000, |_| message(&mut realm, "send"));
    println!("  {} instructions", realm.instructions());
    timed("bringOutYourDead", 1000, |_| deliver(&mut realm, "bringOutYourDead", &[]));

    message(&mut realm, "keep");
    let pages = save(&realm);
    println!("a larger vat: {} pages, {} KiB", pages.len(), realm.heap_bytes() / 1024);
    timed("saved_pages", 200, |_| realm.saved_pages().expect("pages").count());
    timed("bringOutYourDead", 200, |_| deliver(&mut realm, "bringOutYourDead", &[]));
    let bytes = realm.heap_bytes();
    let back = |pages: &[(u32, [u8; PAGE_BYTES])]| {
        Realm::vat_from(&sandbox, LIMITS, Kernel, bytes, pages.iter().map(|(index, page)| (*index, page))).expect("a vat")
    };
    timed("Realm::vat_from and drop", 1000, |_| drop(back(&pages)));
    timed("Realm::vat_from", 1000, |_| back(&pages));
}

fn maps() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("Linux").lines().count()
}

fn save(realm: &Realm<Kernel>) -> Vec<(u32, [u8; PAGE_BYTES])> {
    realm.saved_pages().expect("pages").map(|(index, page)| (index, *page)).collect()
}
