//! The kernel with vats that are only spoken for.

use super::*;

const BOT: u64 = 1;
const USER: u64 = 2;
const BOOTSTRAP: u64 = 3;

/// A kernel with these vats and their roots, and the loopbox.
fn kernel(names: &[&str]) -> Kernel {
    let mut kernel = Kernel::default();
    let loopbox = Party::Device(kernel.new_device());
    kernel.add_member(loopbox, "loopbox", "");
    for name in names {
        let id = kernel.new_vat();
        kernel.add_member(Party::Vat(id), name, "");
    }
    kernel
}

fn rows(kernel: &Kernel) -> Vec<String> {
    let tables = kernel.tables();
    let mut rows: Vec<(KRef, Party, String)> = Vec::new();
    for (party, _) in tables.members() {
        let clist = tables.clist(party).into_iter().flat_map(|clist| clist.iter());
        rows.extend(clist.map(|(kref, entry)| (kref, party, entry.vref.clone())));
    }
    rows.sort();
    rows.into_iter().map(|(kref, party, vref)| format!("{kref} {party} {vref}")).collect()
}

fn send(target: KRef, method: &str, body: &str, slots: Vec<KRef>) -> (KRef, Message) {
    (target, Message { method: Some(method.into()), args: CapData { body: body.into(), slots }, result: None })
}

fn deliver(kernel: &mut Kernel) -> (u64, Delivery) {
    kernel.begin();
    match kernel.take_next() {
        Next::Deliver(vat, delivery) => (vat, delivery),
        other => panic!("{other:?}"),
    }
}

fn done(kernel: &mut Kernel, vat: u64) {
    kernel.delivered(vat, None);
    kernel.finish();
}

/// The tables of the first two steps of the encouragement bot, as SwingSet 0.3.0 printed them.
#[test]
fn the_tables_of_a_bootstrap() {
    let mut kernel = kernel(&["bot", "user", "_bootstrap"]);
    let mut slots = Vec::new();
    for vat in [BOOTSTRAP, BOT, USER] {
        let root = kernel.exported(Party::Vat(vat), "o+0");
        kernel.refer(root);
        slots.push(root);
    }
    slots.push(kernel.exported(Party::Device(7), "d+0"));
    let (target, message) = send(slots[0], "bootstrap", "[[],{},{}]", slots.clone());
    kernel.send(target, message);

    let (vat, delivery) = deliver(&mut kernel);
    assert_eq!(vat, BOOTSTRAP);
    let Delivery::Message { target, args, result, .. } = delivery else { panic!("a message") };
    assert_eq!((target.as_str(), result), ("o+0", None));
    assert_eq!(args.slots, ["o+0", "o-50", "o-51", "d-70"]);
    let args = r#"[{"@qclass":"slot","index":0},"encouragementBot"]"#;
    kernel.syscall_send(BOOTSTRAP, "o-51", Some("talkToBot".into()), args, &["o-50"], Some("p+5")).unwrap();
    kernel.syscall_subscribe(BOOTSTRAP, "p+5").unwrap();
    done(&mut kernel, BOOTSTRAP);

    let (vat, delivery) = deliver(&mut kernel);
    assert_eq!(vat, USER);
    let Delivery::Message { target, args, result, .. } = delivery else { panic!("a message") };
    assert_eq!((target.as_str(), result.as_deref()), ("o+0", Some("p-60")));
    assert_eq!(args.slots, ["o-50"]);
    kernel.syscall_send(USER, "o-50", Some("encourageMe".into()), r#"["user"]"#, &[], Some("p+5")).unwrap();
    kernel.syscall_subscribe(USER, "p+5").unwrap();
    kernel
        .syscall_resolve(USER, &[("p-60", false, r#""Thanks for the setup. I sure hope I get some encouragement...""#, vec![])])
        .unwrap();
    done(&mut kernel, USER);

    let expected = [
        "ko20 v3 o+0",
        "ko21 v1 o+0",
        "ko21 v2 o-50",
        "ko21 v3 o-50",
        "ko22 v2 o+0",
        "ko22 v3 o-51",
        "kp40 v2 p-60",
        "kp40 v3 p+5",
        "kp41 v2 p+5",
        "kd30 v3 d-70",
        "kd30 d7 d+0",
    ];
    assert_eq!(rows(&kernel), expected);
    let waiting: Vec<String> = kernel.tables().run_queue().map(|(_, item)| format!("{item:?}")).collect();
    assert!(waiting[0].starts_with("Send(Object(21), Message { method: Some(\"encourageMe\")"), "{waiting:?}");
    assert_eq!(waiting[1], "Notify(3, 40)");
    assert_eq!(waiting.len(), 2);
    assert!(kernel.tables().gc_actions().is_empty());

    let (vat, delivery) = deliver(&mut kernel);
    assert_eq!(vat, BOT);
    let Delivery::Message { result, .. } = delivery else { panic!("a message") };
    assert_eq!(result.as_deref(), Some("p-60"));
    kernel.syscall_resolve(BOT, &[("p-60", false, r#""user, you are awesome, keep it up!""#, vec![])]).unwrap();
    done(&mut kernel, BOT);
    let (vat, delivery) = deliver(&mut kernel);
    assert_eq!(vat, BOOTSTRAP);
    assert!(matches!(delivery, Delivery::Notify(told) if told[0].0 == "p+5" && !told[0].1));
    done(&mut kernel, BOOTSTRAP);
    let (vat, _) = deliver(&mut kernel);
    assert_eq!(vat, USER);
    done(&mut kernel, USER);
    // Whoever was told needs no name for it any more, and so nobody does.
    assert_eq!(kernel.tables().promises().count(), 0);
    assert!(kernel.is_idle());
}

#[test]
fn a_message_to_a_promise_goes_to_who_decides_it() {
    let mut kernel = kernel(&["a", "b"]);
    let root = kernel.exported(Party::Vat(2), "o+0");
    kernel.refer(root);
    let a = kernel.exported(Party::Vat(1), "o+0");
    kernel.refer(a);
    let (target, message) = send(a, "go", "[]", vec![root]);
    kernel.send(target, message);
    let (vat, _) = deliver(&mut kernel);
    assert_eq!(vat, 1);
    kernel.syscall_send(1, "o-50", Some("open".into()), "[]", &[], Some("p+5")).unwrap();
    kernel.syscall_send(1, "p+5", Some("select".into()), "[]", &[], Some("p+6")).unwrap();
    kernel.syscall_send(1, "p+6", Some("modify".into()), "[]", &[], Some("p+7")).unwrap();
    done(&mut kernel, 1);
    for expected in [("o+0", "open"), ("p-60", "select"), ("p-61", "modify")] {
        let (vat, delivery) = deliver(&mut kernel);
        let Delivery::Message { target, method, .. } = delivery else { panic!("a message") };
        assert_eq!((vat, target.as_str(), method.as_deref()), (2, expected.0, Some(expected.1)));
        done(&mut kernel, 2);
    }
    assert!(kernel.is_idle());
}

#[test]
fn no_vat_reaches_beyond_its_c_list_or_decides_for_others() {
    let mut kernel = kernel(&["a", "b"]);
    let illegal = |result: Result<(), Illegal>| result.unwrap_err().0;
    assert_eq!(illegal(kernel.syscall_send(1, "o-50", Some("x".into()), "[]", &[], None)), "o-50 is not in the c-list of v1");
    assert_eq!(
        illegal(kernel.syscall_send(1, "o+0", Some("x".into()), "[]", &["o-99"], None)),
        "o-99 is not in the c-list of v1"
    );
    assert_eq!(illegal(kernel.syscall_subscribe(1, "p-60")), "p-60 is not in the c-list of v1");
    assert_eq!(illegal(kernel.syscall_subscribe(1, "o+1")), "o+1 is no promise");
    assert_eq!(illegal(kernel.syscall_send(1, "d+0", Some("x".into()), "[]", &[], None)), "d+0 is nothing that v1 can make");
    for name in ["", "x", "o+1|2", "o+1,o+2", "p+01", "o+99999999999999999999999"] {
        assert!(kernel.syscall_send(1, name, Some("x".into()), "[]", &[], None).is_err(), "{name}");
    }
    kernel.syscall_resolve(1, &[("p+5", false, "1", vec![])]).unwrap();
    // Both sides forgot it: the name is new again, and its own.
    kernel.syscall_resolve(1, &[("p+5", false, "2", vec![])]).unwrap();
    kernel.syscall_send(1, "o+0", Some("x".into()), "[]", &[], Some("p+6")).unwrap();
    assert_eq!(illegal(kernel.syscall_resolve(1, &[("p+6", false, "1", vec![])])), "kp42 is decided by nobody yet, not v1");
    assert_eq!(illegal(kernel.syscall_gc(1, GcCall::DropImports, &["o+0"])), "o+0 is not one of its imports");
    assert_eq!(illegal(kernel.syscall_gc(1, GcCall::RetireExports, &["o+0"])), "o+0 is still reachable");
    let large = "x".repeat(super::capdata::BODY_CHARS + 1);
    assert_eq!(illegal(kernel.syscall_send(1, "o+0", Some("x".into()), &large, &[], None)), "syscall capdata too large");
}

#[test]
fn an_abandoned_crank_leaves_no_trace() {
    let mut kernel = kernel(&["a", "b"]);
    let a = kernel.exported(Party::Vat(1), "o+0");
    let b = kernel.exported(Party::Vat(2), "o+0");
    kernel.refer(a);
    kernel.refer(b);
    let (target, message) = send(a, "go", "[]", vec![b]);
    kernel.send(target, message);
    let mut before = ledger::WriteSet::new();
    let state = crate::state::State::in_memory();
    kernel.write(&state, &mut before).unwrap();
    let rows_before = rows(&kernel);
    let queue_before = format!("{:?}", kernel.tables().run_queue().collect::<Vec<_>>());

    let (vat, _) = deliver(&mut kernel);
    kernel.syscall_send(vat, "o-50", Some("x".into()), "[]", &["o+1", "p+9"], Some("p+5")).unwrap();
    kernel.syscall_subscribe(vat, "p+5").unwrap();
    kernel.tables_mut().append_log("line");
    kernel.tables_mut().store(vat, "key", Some("value"));
    kernel.abandon();
    assert_eq!(rows(&kernel), rows_before);
    assert_eq!(format!("{:?}", kernel.tables().run_queue().collect::<Vec<_>>()), queue_before);
    assert_eq!(kernel.tables().counters(), &Counters { vat: 3, device: 8, object: 22, run: (0, 1), ..Counters::default() });
    assert_eq!(kernel.tables().log().count(), 0);
    assert_eq!(kernel.tables().stored(vat, "key"), None);

    // Whoever asks what has changed hears the same rows as before.
    let mut after = ledger::WriteSet::new();
    kernel.write(&state, &mut after).unwrap();
    for (map, writes) in &after.maps {
        for (key, value) in &writes.writes {
            assert_eq!(before.get(map, key), Some(value.as_slice()), "{}", String::from_utf8_lossy(key));
        }
    }
}

#[test]
fn a_terminated_vat_rejects_orphans_and_releases() {
    let mut kernel = kernel(&["a", "b", "c"]);
    let roots: Vec<KRef> = (1..=3).map(|vat| kernel.exported(Party::Vat(vat), "o+0")).collect();
    for &root in &roots {
        kernel.refer(root);
    }
    let (target, message) = send(roots[0], "go", "[]", vec![roots[1], roots[2]]);
    kernel.send(target, message);
    let (vat, _) = deliver(&mut kernel);
    kernel.syscall_send(vat, "o-50", Some("work".into()), "[]", &["o-51", "o+7"], Some("p+5")).unwrap();
    kernel.syscall_subscribe(vat, "p+5").unwrap();
    done(&mut kernel, vat);
    let (vat, _) = deliver(&mut kernel);
    assert_eq!(vat, 2);
    done(&mut kernel, 2);

    kernel.begin();
    kernel.terminate(2, &CapData::error(Dialect::Old, "Error", "vat terminated"));
    kernel.finish();
    assert!(kernel.tables().member(Party::Vat(2)).is_none());
    let (vat, delivery) = deliver(&mut kernel);
    // What only it held is garbage; whoever made it hears of that first.
    assert_eq!((vat, delivery), (1, Delivery::Gc(GcKind::DropExport, vec!["o+7".into()])));
    done(&mut kernel, 1);
    let (vat, delivery) = deliver(&mut kernel);
    assert_eq!((vat, delivery), (1, Delivery::Gc(GcKind::RetireExport, vec!["o+7".into()])));
    done(&mut kernel, 1);
    let (vat, delivery) = deliver(&mut kernel);
    let Delivery::Notify(told) = delivery else { panic!("{delivery:?}") };
    assert_eq!((vat, told[0].0.as_str(), told[0].1), (1, "p+5", true));
    assert!(told[0].2.body.contains("vat terminated"));
    kernel.syscall_send(1, "o-50", Some("again".into()), "[]", &[], Some("p+6")).unwrap();
    kernel.syscall_subscribe(1, "p+6").unwrap();
    done(&mut kernel, 1);
    kernel.begin();
    assert_eq!(kernel.take_next(), Next::Done);
    kernel.finish();
    let (_, delivery) = deliver(&mut kernel);
    assert!(matches!(delivery, Delivery::Notify(told) if told[0].1));
}

#[test]
fn a_dropped_import_is_garbage_where_it_was_made() {
    let mut kernel = kernel(&["a", "b"]);
    let roots: Vec<KRef> = (1..=2).map(|vat| kernel.exported(Party::Vat(vat), "o+0")).collect();
    for &root in &roots {
        kernel.refer(root);
    }
    let (target, message) = send(roots[0], "go", "[]", vec![roots[1]]);
    kernel.send(target, message);
    let (vat, _) = deliver(&mut kernel);
    kernel.syscall_send(vat, "o-50", Some("take".into()), "[]", &["o+1"], None).unwrap();
    done(&mut kernel, vat);
    let (vat, delivery) = deliver(&mut kernel);
    let Delivery::Message { args, .. } = delivery else { panic!("a message") };
    assert_eq!(args.slots, ["o-50"]);
    done(&mut kernel, vat);
    kernel.begin();
    kernel.syscall_gc(2, GcCall::DropImports, &["o-50"]).unwrap();
    kernel.finish();
    let (vat, delivery) = deliver(&mut kernel);
    assert_eq!((vat, delivery), (1, Delivery::Gc(GcKind::DropExport, vec!["o+1".into()])));
    kernel.syscall_gc(1, GcCall::RetireExports, &["o+1"]).unwrap();
    done(&mut kernel, 1);
    let (vat, delivery) = deliver(&mut kernel);
    assert_eq!((vat, delivery), (2, Delivery::Gc(GcKind::RetireImport, vec!["o-50".into()])));
    done(&mut kernel, 2);
    assert!(kernel.is_idle());
    assert_eq!(kernel.tables().objects().count(), 2);
}

#[test]
fn what_is_written_is_read_again() {
    let mut kernel = kernel(&["a", "b"]);
    let roots: Vec<KRef> = (1..=2).map(|vat| kernel.exported(Party::Vat(vat), "o+0")).collect();
    for &root in &roots {
        kernel.refer(root);
    }
    let (target, message) = send(roots[0], "go", "[\"\\n\"]", vec![roots[1]]);
    kernel.send(target, message);
    let (vat, _) = deliver(&mut kernel);
    kernel.syscall_send(vat, "o-50", None, "#[\"m\",[]]", &["o+v1/2:0", "p+8"], Some("p+5")).unwrap();
    kernel.syscall_subscribe(vat, "p+5").unwrap();
    kernel.syscall_resolve(vat, &[("p+9", true, "#\"no\"", vec![])]).unwrap();
    kernel.tables_mut().append_log("line");
    let watch = kernel.watch(Watch::Call { number: 3, input: [7; 32] });
    kernel.send(roots[1], Message { method: None, args: CapData::default(), result: Some(watch) });
    kernel.start(2, CapData { body: "#{}".into(), slots: vec![roots[0]] });
    kernel.tables_mut().put_meter(1, Meter { remaining: 5, threshold: 1, unlimited: false, armed: true });
    done(&mut kernel, vat);
    let mut state = crate::state::State::in_memory();
    let mut writes = ledger::WriteSet::new();
    kernel.write(&state, &mut writes).unwrap();
    let rows: Vec<(String, Vec<u8>, Vec<u8>)> = writes
        .maps
        .iter()
        .flat_map(|(map, writes)| writes.writes.iter().map(|(key, value)| (map.clone(), key.clone(), value.clone())))
        .collect();
    state.apply(1, rows.iter().map(|(map, key, value)| (map.as_str(), key.as_slice(), Some(value.as_slice())))).unwrap();
    let mut read = Kernel::read(&state).unwrap();
    assert_eq!(super::tests::rows(&read), super::tests::rows(&kernel));
    assert_eq!(
        format!("{:?}", read.tables().run_queue().collect::<Vec<_>>()),
        format!("{:?}", kernel.tables().run_queue().collect::<Vec<_>>())
    );
    assert_eq!(
        format!("{:?}", read.tables().promises().collect::<Vec<_>>()),
        format!("{:?}", kernel.tables().promises().collect::<Vec<_>>())
    );
    assert_eq!(
        format!("{:?}", read.tables().objects().collect::<Vec<_>>()),
        format!("{:?}", kernel.tables().objects().collect::<Vec<_>>())
    );
    assert_eq!(
        format!("{:?}", read.tables().members().collect::<Vec<_>>()),
        format!("{:?}", kernel.tables().members().collect::<Vec<_>>())
    );
    assert_eq!(read.tables().counters(), kernel.tables().counters());
    assert_eq!(read.tables().gc_actions(), kernel.tables().gc_actions());
    assert_eq!(read.tables().log().collect::<Vec<_>>(), ["line"]);
    let mut again = ledger::WriteSet::new();
    read.write(&state, &mut again).unwrap();
    assert!(again.maps.is_empty(), "reading is no change");
}
