use super::*;

fn deliver(crank: u64, vat: &str, target: &str, method: &str, args: &str, result: Option<&str>) -> Event {
    Event::Deliver {
        crank,
        vat: vat.into(),
        target: target.into(),
        method: method.into(),
        args: args.into(),
        // As today's vats send.
        in_body: args.starts_with('#'),
        result: result.map(str::to_owned),
    }
}

fn send(crank: u64, vat: &str, target: &str, method: &str, result: Option<&str>) -> Event {
    Event::Send { crank, vat: vat.into(), target: target.into(), method: method.into(), result: result.map(str::to_owned) }
}

fn resolve(crank: u64, vat: &str, promise: &str, rejected: bool, body: &str) -> Event {
    Event::Resolve { crank, vat: vat.into(), promise: promise.into(), rejected, body: body.into() }
}

fn notify(crank: u64, vat: &str, promises: &[&str]) -> Event {
    Event::Notify { crank, vat: vat.into(), promises: promises.iter().map(|promise| (*promise).to_owned()).collect() }
}

fn other(crank: u64, vat: &str, what: &str) -> Event {
    Event::Other { crank, vat: vat.into(), what: what.into() }
}

fn vats(vats: &[(&str, &str)]) -> Names {
    vats.iter().map(|(vat, name)| ((*vat).to_owned(), (*name).to_owned())).collect()
}

/// The five deliveries of the encouragement bot.
fn encouragement() -> (Vec<Event>, Names) {
    let slot = r#"{"@qclass":"slot","index":0}"#;
    let events = vec![
        other(0, "v1", "startVat"),
        other(1, "v2", "startVat"),
        other(2, "v3", "startVat"),
        deliver(3, "v3", "ko20", "bootstrap", &format!(r#"[["x1"],{{"bot":{slot}}},{{"_dummy":"dummy"}}]"#), None),
        send(3, "v3", "ko22", "talkToBot", Some("kp40")),
        deliver(4, "v2", "ko22", "talkToBot", &format!(r#"[{slot},"encouragementBot"]"#), Some("kp40")),
        send(4, "v2", "ko21", "encourageMe", Some("kp41")),
        resolve(4, "v2", "kp40", false, "\"Thanks for the setup. I sure hope I get some encouragement...\""),
        deliver(5, "v1", "ko21", "encourageMe", "[\"user\"]", Some("kp41")),
        resolve(5, "v1", "kp41", false, "\"user, you are awesome, keep it up!\""),
        notify(6, "v3", &["kp40"]),
        notify(7, "v2", &["kp41"]),
    ];
    (events, vats(&[("v1", "bot"), ("v2", "user"), ("v3", "_bootstrap")]))
}

#[test]
fn who_has_caused_what_as_text() {
    let (events, names) = encouragement();
    assert_eq!(
        text::graph(&Graph::of(&events), &names),
        r#"3  _bootstrap (v3): ko20.bootstrap(["x1"], {"bot":$0}, {"_dummy":"dummy"})
4    user (v2): ko22.talkToBot($0, "encouragementBot") → kp40
5      bot (v1): ko21.encourageMe("user") → kp41
5        kp41 = "user, you are awesome, keep it up!"
7          user (v2) hears kp41
4      kp40 = "Thanks for the setup. I sure hope I get some encouragement.…
6        _bootstrap (v3) hears kp40
"#
    );
}

#[test]
fn who_has_caused_what_as_a_picture() {
    let (events, names) = encouragement();
    assert_eq!(
        dot::graph(&Graph::of(&events), &names),
        r#"digraph vats {
  rankdir=LR;
  node [shape=box];
  subgraph cluster_v1 {
    label="bot (v1)";
    c5 [label="5 encourageMe"];
  }
  subgraph cluster_v2 {
    label="user (v2)";
    c4 [label="4 talkToBot"];
    c7 [label="7 notify"];
  }
  subgraph cluster_v3 {
    label="_bootstrap (v3)";
    c3 [label="3 bootstrap"];
    c6 [label="6 notify"];
  }
  c3 -> c4 [label="kp40"];
  c4 -> c5 [label="kp41"];
  c4 -> c6 [style=dashed, label="kp40"];
  c5 -> c7 [style=dashed, label="kp41"];
}
"#
    );
}

#[test]
fn messages_without_result_and_what_never_comes() {
    let events = vec![
        deliver(1, "v1", "ko20", "go", "#[\"go\",[\"$0.Alleged: root\",\"#undefined\"]]", None),
        // Three messages of the same name: two to an object, one to a promise that becomes that object.
        send(1, "v1", "ko21", "tell", None),
        send(1, "v1", "kp40", "tell", None),
        send(1, "v1", "ko21", "tell", None),
        // To data: the kernel itself rejects it.
        send(1, "v1", "kp41", "fly", Some("kp42")),
        deliver(2, "v2", "ko21", "tell", "#[\"tell\",[1]]", None),
        deliver(3, "v2", "ko21", "tell", "#[\"tell\",[2]]", None),
        deliver(4, "v2", "ko21", "tell", "#[\"tell\",[3]]", None),
        resolve(4, "v2", "kp43", true, "#{\"#error\":\"no\\nway\",\"name\":\"TypeError\"}"),
        Event::Terminated { crank: 4, vat: "v2".into(), why: "Error: over".into() },
        notify(5, "v1", &["kp42"]),
        notify(6, "v3", &["kp99"]),
    ];
    assert_eq!(
        text::graph(&Graph::of(&events), &vats(&[("v1", "a"), ("v2", "b")])),
        "1  a (v1): ko20.go($0, undefined)
2    b (v2): ko21.tell(1)
4    b (v2): ko21.tell(3)
4      kp43 ✖ TypeError: no\\nway
4      b (v2) is terminated: Error: over
3    b (v2): ko21.tell(2)
1    sends kp41.fly → kp42: not delivered
5      a (v1) hears kp42
6  v3 hears kp99
"
    );
}

#[test]
fn a_promise_told_with_others_is_shown_below_the_last() {
    let events = vec![
        deliver(1, "v1", "ko20", "a", "[]", None),
        resolve(1, "v1", "kp40", false, "1"),
        deliver(2, "v1", "ko20", "b", "[]", None),
        resolve(2, "v1", "kp41", false, "{\"@qclass\":\"error\",\"name\":\"Error\",\"message\":\"x\"}"),
        notify(3, "v2", &["kp41", "kp40"]),
    ];
    let graph = Graph::of(&events);
    assert_eq!(
        text::graph(&graph, &Names::new()),
        "1  v1: ko20.a()\n1    kp40 = 1\n2  v1: ko20.b()\n2    kp41 = Error: x\n3      v2 hears kp41, kp40\n"
    );
    assert_eq!(graph.told, [(1, 2, "kp41"), (0, 2, "kp40")]);
}

/// A chain as long as vats may make it: no stack, no page of blanks for each line, no look back at all that was before.
#[test]
fn long_chains_are_no_trouble() {
    let mut events = vec![deliver(0, "v1", "ko20", "hit", "[]", None)];
    for n in 0..100_000u64 {
        let (vat, next) = (format!("v{}", 1 + n % 2), format!("v{}", 2 - n % 2));
        let result = format!("kp{n}");
        events.push(send(n, &vat, "ko20", "hit", Some(&result)));
        events.push(deliver(n + 1, &next, "ko20", "hit", "[]", Some(&result)));
    }
    let shown = text::graph(&Graph::of(&events), &Names::new());
    assert_eq!(shown.lines().count(), 100_001);
    assert!(shown.len() < 100_001 * 120, "{}", shown.len());
    let last = shown.lines().next_back().expect("there are lines");
    assert_eq!(last.trim_start_matches("100000").trim_start(), "(100000) v1: ko20.hit() → kp99999");
}

#[test]
fn a_line_for_each_event() {
    let events = [send(1, "v1", "ko20", "a", None), notify(2, "v1", &["kp40"])];
    assert_eq!(
        lines(&events),
        "{\"event\":\"send\",\"crank\":1,\"vat\":\"v1\",\"target\":\"ko20\",\"method\":\"a\"}\n\
         {\"event\":\"notify\",\"crank\":2,\"vat\":\"v1\",\"promises\":[\"kp40\"]}\n"
    );
}
