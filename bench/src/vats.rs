//! What vats cost: the command runs them, and the CPU time of the whole process is counted, its start included.

use crate::Plan;
use crate::process::{self, Ran};
use crate::table::{Row, Target};
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

const PING_PONG: [(&str, &str); 3] = [
    (
        "bootstrap.js",
        "import { E, Far } from '@endo/far';
export const buildRootObject = (powers, { argv }) => Far('root', {
  bootstrap: vats => E(vats.ping).start(vats.pong, Number(argv[0])),
});
",
    ),
    (
        "vat-ping.js",
        "import { E, Far } from '@endo/far';
export const buildRootObject = () => Far('root', {
  async start(pong, rounds) {
    let sum = 0;
    for (let i = 0; i < rounds; i += 1) sum += await E(pong).pong(i);
    return sum;
  },
});
",
    ),
    ("vat-pong.js", "import { Far } from '@endo/far';\nexport const buildRootObject = () => Far('root', { pong: i => i });\n"),
];

const BURST: [(&str, &str); 2] = [
    (
        "bootstrap.js",
        "import { E, Far } from '@endo/far';
export const buildRootObject = (powers, { argv }) => Far('root', {
  bootstrap(vats) {
    const last = Number(argv[0]);
    if (argv[1] === 'results') return Promise.all(Array.from({ length: last }, (_, i) => E(vats.sink).take(i))).then(() => {});
    for (let i = 1; i < last; i += 1) E.sendOnly(vats.sink).take(i);
    return E(vats.sink).take(last);
  },
});
",
    ),
    ("vat-sink.js", "import { Far } from '@endo/far';\nexport const buildRootObject = () => Far('root', { take: i => i });\n"),
];

/// What each of many vats is made of.
const SMALL: &str = "import { Far } from '@endo/far';
export const buildRootObject = () => {
  let count = 0;
  return Far('root', { increment: () => (count += 1) });
};
";

const MANY: usize = 1_000;

fn write(folder: &Path, files: &[(&str, &str)]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    files.iter().try_for_each(|(name, source)| fs::write(folder.join(name), source))
}

struct Command<'a> {
    plan: &'a Plan,
    folder: PathBuf,
}

impl Command<'_> {
    fn run(&self, dir: Option<&Path>, args: &[String]) -> Result<Ran, String> {
        // A burst of 100,000 messages from one crank is more than a crank may do otherwise.
        let most = OsStr::new("100000000000");
        let mut all = vec![OsStr::new("vat"), OsStr::new("run"), self.folder.as_os_str(), OsStr::new("--instructions"), most];
        if let Some(dir) = dir {
            all.extend([OsStr::new("--dir"), dir.as_os_str()]);
        }
        all.push(OsStr::new("--"));
        all.extend(args.iter().map(OsStr::new));
        process::run(&self.plan.binary, &all, &self.plan.dir.join("vats.log"))
    }
}

/// All rows.
pub fn rows(plan: &Plan) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    let ping_pong = Command { plan, folder: plan.dir.join("ping-pong") };
    write(&ping_pong.folder, &PING_PONG)?;
    let rounds = plan.calls * 2;
    let deliveries = (2 * rounds) as f64;
    let (mut memory, mut kept, mut bytes, mut audit, mut again) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let ran = ping_pong.run(None, &[rounds.to_string()])?;
        memory.push(deliveries / ran.cpu_ms * 1e3);
        let dir = plan.dir.join(format!("ping-pong-{round}"));
        let ran = ping_pong.run(Some(&dir), &[rounds.to_string()])?;
        kept.push(deliveries / ran.cpu_ms * 1e3);
        bytes.push(process::disk_bytes(&dir.join("ledger"))?.apparent as f64 / deliveries);
        audit.push(process::verify(&plan.binary, &dir, 1)?.cpu_ms / deliveries * 1e3);
        again.push(ping_pong.run(Some(&dir), &[])?.elapsed_ms);
    }
    let quoted = "SwingSet on the same machine 505";
    rows.push(
        Row::most("vats: ping-pong in memory", "deliveries/CPU-s", &memory).target(Target::AtLeast(15_000.0)).quoted(quoted),
    );
    let quoted = "SwingSet on the same machine 383";
    rows.push(
        Row::most("vats: ping-pong, ledger on disk", "deliveries/CPU-s", &kept).target(Target::AtLeast(10_000.0)).quoted(quoted),
    );
    rows.push(Row::new("vats: ledger for each delivery", "bytes", &bytes).target(Target::AtMost(200.0)).quoted("SwingSet 330"));
    rows.push(Row::new("vats: verify, CPU for 1,000 deliveries", "ms", &audit));
    let name = |deliveries: f64| format!("vats: start from a directory after {deliveries} deliveries");
    let (few, mut early) = (plan.dir.join("ping-pong-few"), Vec::new());
    ping_pong.run(Some(&few), &["500".into()])?;
    for _ in 0..plan.rounds {
        early.push(ping_pong.run(Some(&few), &[])?.elapsed_ms);
    }
    rows.push(Row::new(name(1_000.0), "ms", &early).detail("nothing left to do"));
    rows.push(Row::new(name(deliveries), "ms", &again).detail("nothing left to do: as long as after few"));

    let burst = Command { plan, folder: plan.dir.join("burst") };
    write(&burst.folder, &BURST)?;
    for (kind, name) in [("", "sends"), ("results", "calls with results")] {
        for messages in [1_000, 10_000, 100_000] {
            let mut each = Vec::new();
            for _ in 0..plan.rounds {
                let nothing = burst.run(None, &["1".into(), kind.into()])?;
                let ran = burst.run(None, &[messages.to_string(), kind.into()])?;
                each.push((ran.cpu_ms - nothing.cpu_ms) * 1e3 / messages as f64);
            }
            rows.push(Row::new(format!("vats: a burst of {messages} {name}, each"), "µs CPU", &each).detail("without the start"));
        }
    }

    let many = Command { plan, folder: plan.dir.join("many") };
    let files: Vec<(String, String)> = (0..MANY).map(|n| (format!("vat-v{n:04}.js"), SMALL.to_owned())).collect();
    let mut files: Vec<(&str, &str)> = files.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect();
    let bootstrap = "import { Far } from '@endo/far';\nexport const buildRootObject = () => Far('root', { bootstrap() {} });\n";
    files.push(("bootstrap.js", bootstrap));
    write(&many.folder, &files)?;
    let (mut start, mut each) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let ran = many.run(None, &[])?;
        start.push(ran.elapsed_ms / 1e3);
        each.push(ran.peak_mb / MANY as f64);
    }
    rows.push(Row::new(format!("vats: {MANY} vats, from nothing to idle"), "s", &start).target(Target::AtMost(3.0)));
    rows.push(
        Row::new(format!("vats: memory of the process for each of {MANY}"), "MB", &each)
            .target(Target::AtMost(1.0))
            .quoted("xsnap 43 to 51"),
    );
    Ok(rows)
}
