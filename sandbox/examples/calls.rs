//! Prints what calls cost: `cargo run --release -p sandbox --example calls`.
use sandbox::{Answer, Consult, Fault, Host, Level, Limits, OracleAnswer, Outcome, Realm, Sandbox};
use std::time::Instant;

struct Memory(Vec<u8>);

impl Host for Memory {
    fn console(&mut self, level: Level, line: &str) {
        println!("  console {level:?}: {line}");
    }
    fn seed(&mut self) -> Result<u64, Fault> {
        Ok(7)
    }
    fn consult(&mut self) -> Result<Consult, Fault> {
        Ok(Consult::Recorded(Ok(None)))
    }
    fn consulted(&mut self, _: &OracleAnswer) {}
    fn ask(&mut self, op: u32, text: &str, data: &[u8], _: &mut u64) -> Result<Answer, Fault> {
        Ok(match op {
            10 if self.0.is_empty() => Answer::Nothing,
            10 => Answer::Text(String::from_utf8_lossy(&self.0).into_owned()),
            11 => {
                self.0 = data.to_vec();
                Answer::Nothing
            }
            _ => Answer::Refused { name: "NotFoundError".into(), message: format!("{op} {text}") },
        })
    }
}

fn main() {
    std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES).spawn(run).expect("a thread").join().expect("no panic");
}

fn run() {
    let start = Instant::now();
    let sandbox = Sandbox::new().expect("the sandbox starts");
    println!("engine and base {:?}", start.elapsed());
    let start = Instant::now();
    let mut realm = Realm::new(&sandbox, Limits::DEFAULT, Memory(Vec::new())).expect("a realm");
    println!("realm {:?}, heap {} KiB", start.elapsed(), realm.heap_bytes() / 1024);
    let source = r#"
        let n = 0;
        exports.increment = () => ++n;
        exports.persistent = async () => { let i = await System.files.readFile('/counter', 'json'); i++; await System.files.writeFile('/counter', i); return i };
        exports.fail = () => { n++; throw new Error('no') };
        exports.loop = () => { let s=0; for(let i=0;i<10000000;i++){s=(s+i*3)%1000003}; return s };
        exports.fib = () => { function fib(n){return n<2?n:fib(n-1)+fib(n-2)}; return fib(27) };
        exports.json = () => { let o={}; for(let i=0;i<1000;i++)o['k'+i]={a:i,b:'x'.repeat(20),c:[1,2,3]}; let n=0; for(let j=0;j<100;j++){n+=JSON.stringify(JSON.parse(JSON.stringify(o))).length}; return n };
        exports.fill = () => { let a = new Uint8Array(1 << 24); for (let i = 0; i < 16; i++) a.fill(i); return a[7] };
        exports.forever = () => { for (;;); };
        exports.recurse = function f() { return f() + 1 };
        exports.hog = () => { let a = []; for (;;) a.push('x'.repeat(100000) + a.length) };
        exports.never = () => new Promise(() => {});
        exports.sleep = async () => { let t = Date.now(); await new Promise(r => setTimeout(r, 1500)); return Date.now() - t };
        exports.big = () => 1n;
        exports.random = () => [Math.random(), Date.now()];
        exports.log = () => console.log('hello', {a: 1}, [1, 2]);
        exports.nest = () => JSON.parse('['.repeat(1e6));
        exports.sparse = () => { let a = []; a.length = 4294967295; return a.indexOf(1) };
        exports.url = () => new URL('../x?y=1#z', 'http://example.com/a/b/c').href;
    "#;
    println!("load {:?}", realm.load("x.js", source, 1));
    for (method, n) in
        [("increment", 100_000), ("persistent", 100_000), ("fail", 20_000), ("loop", 1), ("fib", 1), ("json", 1), ("fill", 1)]
    {
        let start = Instant::now();
        let mut last = None;
        for _ in 0..n {
            last = Some(realm.call(method, "[]", "null", 1_700_000_000_000).expect("no fault"));
        }
        println!("{method}: {:?} each; {last:?}", start.elapsed() / n as u32);
    }
    for method in ["forever", "recurse", "hog", "never", "sleep", "big", "random", "log", "nest", "sparse", "url", "increment"] {
        let start = Instant::now();
        let mut outcome = realm.call(method, "[]", "null", 1_700_000_000_000).expect("no fault");
        if let Outcome::Failure(failure) = &mut outcome {
            failure.stack.truncate(120);
        }
        println!("{method}: {:?} {outcome:?} heap {} KiB", start.elapsed(), realm.heap_bytes() / 1024);
    }
    println!("{:?}", realm.heap_digest());
}
