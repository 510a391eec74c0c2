//! Two kernels whose vats speak with each other through `comms`, `vattp` and the mailbox.

use super::stage::{Stage, install, today, with_stack};
use machine::vats::Work;
use machine::vats::devices::mailbox::Peer;

/// How both come to know each other: `connect(vats, devices, peer)`.
const CONNECT: &str = "const connect = async (vats, devices, peer) => {
    await E(vats.vattp).registerMailboxDevice(devices.mailbox);
    const { transmitter, setReceiver } = await E(vats.vattp).addRemote(peer);
    await E(setReceiver).setReceiver(await E(vats.comms).addRemote(peer, transmitter));
  };";

/// What is called from the other kernel.
const CALLED: &str = "{
    async bootstrap(vats, devices) {
      CONNECT
      let sum = 0;
      const counter = Far('counter', {
        add(n) { sum += n; return sum; },
        me: () => counter,
        fails() { throw new RangeError('no'); },
        later: () => Promise.resolve().then(() => counter),
        box: (...promises) => harden(promises),
        ask: async (friend, n) => [await E(friend).twice(Promise.resolve(n)), E(friend).twice(n)],
      });
      await connect(vats, devices, 'b');
      await E(vats.comms).addEgress('b', 0, counter);
      D(devices.mailbox).registerInboundHandler(vats.vattp);
    }
  }";

/// Who calls. Promises are sent to, and spoken of, before and after they are resolved.
const CALLER: &str = "{
    async bootstrap(vats, devices) {
      CONNECT
      await connect(vats, devices, 'a');
      D(devices.mailbox).registerInboundHandler(vats.vattp);
      const counter = await E(vats.comms).addIngress('a', 0);
      const friend = Far('friend', { twice: async n => 2 * (await n) });
      const old = [];
      for (let i = 1; i <= ROUNDS; i++) {
        const me = E(counter).me();
        const sum = E(E(me).later()).add(i);
        const [boxed] = await E(counter).box(sum, ...old);
        const error = await E(me).fails().catch(it => it);
        const asked = await Promise.all(await E(counter).ask(friend, i));
        if ((await boxed) !== i * (i + 1) / 2 || error.name !== 'RangeError' || asked.join() !== `${2 * i},${2 * i}`) {
          console.log('wrong', i, await boxed, error, asked);
        }
        const again = await E(me).box(...old);
        if ((await again[0]) !== (await old[0])) console.log('wrong again', i);
        old.push(sum, me);
        if (old.length > 6) old.splice(0, 2);
      }
      console.log('done', await E(counter).add(0));
    }
  }";

fn kernel(bootstrap: &str, rounds: u32) -> Stage {
    let bootstrap = today(&bootstrap.replace("CONNECT", CONNECT).replace("ROUNDS", &rounds.to_string()));
    let mut install = install(&[("bootstrap.js", &bootstrap)], &[]);
    install.devices = vec!["mailbox".into()];
    install.builtin = vec!["comms".into(), "vattp".into()];
    Stage::of(install)
}

/// One of the kernels, and what it last had for the other one.
struct Side {
    stage: Stage,
    name: &'static str,
    post: Peer,
}

impl Side {
    fn run(&mut self, other: &str) {
        self.stage.run();
        let mail = self.stage.machine.as_vats_mut().unwrap().take_mail();
        if let Some(peer) = mail.and_then(|mail| mail.get(other).cloned()) {
            self.post = peer;
        }
    }

    /// Takes at most so many messages, as `seen` shows them. Whether there was anything.
    fn take(&mut self, from: &Side, most: usize, seen: fn(&str) -> &str) -> bool {
        let new = from.post.outbox.range(self.post.delivered + 1..).take(most);
        let messages: Vec<(u64, String)> = new.map(|(number, text)| (*number, seen(text).to_owned())).collect();
        let ack = from.post.inbound_ack;
        if messages.is_empty() && ack <= self.post.acknowledged {
            return false;
        }
        self.stage.work(Work::Mail { peer: from.name.into(), messages, ack, id: None }).unwrap();
        true
    }
}

/// What the caller prints; promises and c-list rows of both in the end.
fn call(rounds: u32, most: (usize, usize), seen: fn(&str) -> &str) -> (Vec<String>, [(usize, usize); 2]) {
    let mut a = Side { stage: kernel(CALLED, 0), name: "a", post: Peer::default() };
    let mut b = Side { stage: kernel(CALLER, rounds), name: "b", post: Peer::default() };
    let mut goes_on = true;
    while goes_on {
        a.run("b");
        b.run("a");
        goes_on = a.take(&b, most.0, seen);
        goes_on |= b.take(&a, most.1, seen);
    }
    let sizes = [&a, &b].map(|side| {
        side.stage.audit();
        let dump = side.stage.dump();
        (dump.promises.len(), dump.kernel_table.len())
    });
    let mut lines = a.stage.console();
    lines.append(&mut b.stage.console());
    (lines, sizes)
}

#[test]
fn promises_between_kernels_are_forgotten() {
    with_stack(|| {
        let (lines, few) = call(20, (1_000, 1_000), |text| text);
        assert_eq!(lines, ["done 210"]);
        let (lines, many) = call(120, (1_000, 1_000), |text| text);
        assert_eq!(lines, ["done 7260"]);
        for ((promises, rows), (more, more_rows)) in few.into_iter().zip(many) {
            assert!(promises < 40 && more < 40, "{few:?} {many:?}");
            assert!(rows < 80 && more_rows < 80, "{few:?} {many:?}");
        }
    });
}

/// One side hears of everything late: what it says is about promises that the other one has resolved long ago.
#[test]
fn what_is_under_way_arrives() {
    with_stack(|| {
        for most in [(1, 1), (1, 1_000), (1_000, 1), (3, 2)] {
            let (lines, _) = call(20, most, |text| text);
            assert_eq!(lines, ["done 210"], "{most:?}");
        }
    });
}

/// A peer that does not know of `retire` complains once, and everything goes on.
#[test]
fn a_peer_that_forgets_nothing() {
    with_stack(|| {
        let (mut lines, _) = call(30, (1_000, 1_000), |text| if text.starts_with("retire") { "unknown;" } else { text });
        let complaint = |peer| format!("comms: from {peer}: unrecognized command unknown");
        assert_eq!(lines.pop().as_deref(), Some("done 465"));
        assert_eq!(lines, [complaint("b"), complaint("a")]);
    });
}

/// What no vat may say, comms does not say for a peer: it complains, and lives.
#[test]
fn what_a_peer_may_not_send() {
    with_stack(|| {
        let mut a = Side { stage: kernel(CALLED, 0), name: "a", post: Peer::default() };
        a.run("b");
        let refs = (0..10_001).map(|n| format!(":ro-{}", n + 100)).collect::<String>();
        let messages = [
            format!("deliver:ro+0:call:rp-40{refs};[]"),
            format!("deliver:ro+0:call:;#[{}1]", "[],".repeat(60_000)),
            format!("deliver:ro+0:call:;#[\"+{}\"]", "9".repeat(1_000_000)),
            format!("deliver:ro+0:call:;[\"{}\"]", "x\\\"".repeat(100_000)),
            "deliver:ro+0:call:rp-50:rp-51;#[\"&0\"]".to_owned(),
            "resolve:data:rp-51:rp-52;#\"&0\"".to_owned(),
            "resolve:data:rp-51:rp-52;{\"@qclass\":\"slot\",\"index\":0}".to_owned(),
        ];
        let messages = messages.into_iter().enumerate().map(|(n, text)| (n as u64 + 1, text)).collect();
        a.stage.work(Work::Mail { peer: "b".into(), messages, ack: 0, id: None }).unwrap();
        a.run("b");
        a.stage.audit();
        let lines = a.stage.console();
        assert!(!lines.iter().any(|line| line.contains("terminated")), "{lines:#?}");
        for complaint in ["more than 10000 references", "more than 50000 values", "too many digits", "cannot become a promise"] {
            assert!(lines.iter().any(|line| line.contains(complaint)), "{complaint}: {lines:#?}");
        }
        assert!(a.stage.dump().vat_tables.iter().any(|vat| vat.name == "comms"));
    });
}

/// Mail that is more than a vat may be sent at once is refused, and not lost: it can come in smaller pieces.
#[test]
fn more_mail_than_a_vat_may_be_sent() {
    with_stack(|| {
        let mut a = Side { stage: kernel(CALLED, 0), name: "a", post: Peer::default() };
        a.run("b");
        let mail = |range: std::ops::Range<u64>| {
            let messages = range.map(|number| (number, format!("none {number};"))).collect();
            Work::Mail { peer: "b".into(), messages, ack: 0, id: None }
        };
        a.stage.work(mail(1..20_000)).unwrap_err();
        a.stage.restart();
        a.stage.work(mail(1..3)).unwrap();
        a.run("b");
        assert_eq!(a.post.inbound_ack, 2);
        assert!(a.stage.console().iter().any(|line| line.contains("none 1")));
        a.stage.replayed();
    });
}
