//! Messages to one promise do not overtake each other, wherever the promise leads: on the kernel alone.

use machine::vats::kernel::{CapData, Delivery, KRef, Kernel, Message, Next, Party};

/// Vats a, b, c; `a` is in a crank that has brought it the roots of `b` (o-50) and `c` (o-51).
fn kernel() -> Kernel {
    let mut kernel = Kernel::default();
    for name in ["a", "b", "c"] {
        let id = kernel.new_vat();
        kernel.add_member(Party::Vat(id), name, "");
    }
    let roots: Vec<KRef> = (1..=3).map(|vat| kernel.exported(Party::Vat(vat), "o+0")).collect();
    for &root in &roots {
        kernel.refer(root);
    }
    let args = CapData { body: "[]".into(), slots: vec![roots[1], roots[2]] };
    kernel.send(roots[0], Message { method: Some("go".into()), args, result: None });
    assert_eq!(next(&mut kernel), "v1 o+0 go");
    kernel
}

fn send(kernel: &mut Kernel, vat: u64, target: &str, method: &str, slots: &[&str], result: Option<&str>) {
    kernel.syscall_send(vat, target, Some(method.into()), "[]", slots, result).unwrap();
    if let Some(result) = result {
        kernel.syscall_subscribe(vat, result).unwrap();
    }
}

/// Ends a crank, and begins the next one that delivers something.
fn next(kernel: &mut Kernel) -> String {
    loop {
        kernel.finish();
        kernel.audit().unwrap();
        kernel.begin();
        match kernel.take_next() {
            Next::Deliver(vat, Delivery::Message { target, method, .. }) => {
                return format!("v{vat} {target} {}", method.unwrap());
            }
            Next::Deliver(vat, Delivery::Notify(told)) => return format!("v{vat} notify {}", told[0].0),
            Next::Done => {}
            other => return format!("{other:?}"),
        }
    }
}

const PRESENCE: &str = r#"{"@qclass":"slot","index":0}"#;

/// A vat that was sent what it has to send on comes first with it.
#[test]
fn what_was_passed_on_is_not_overtaken() {
    let mut kernel = kernel();
    send(&mut kernel, 1, "o-50", "open", &["o-51"], Some("p+5"));
    send(&mut kernel, 1, "p+5", "first", &[], None);
    send(&mut kernel, 1, "o-50", "resolve", &[], None);
    send(&mut kernel, 1, "p+5", "second", &[], None);
    assert_eq!(next(&mut kernel), "v2 o+0 open");
    assert_eq!(next(&mut kernel), "v2 p-60 first");
    assert_eq!(next(&mut kernel), "v2 o+0 resolve");
    kernel.syscall_resolve(2, &[("p-60", false, PRESENCE, vec!["o-50"])]).unwrap();
    send(&mut kernel, 2, "o-50", "first", &[], None);
    assert_eq!(next(&mut kernel), "v1 notify p+5");
    send(&mut kernel, 1, "o-51", "third", &[], None);
    assert_eq!(next(&mut kernel), "v3 o+0 first");
    assert_eq!(next(&mut kernel), "v3 o+0 second");
    assert_eq!(next(&mut kernel), "v3 o+0 third");
    assert_eq!(next(&mut kernel), "Idle");
}

/// What has waited for a promise while nobody decided it goes to whoever does, before what came later.
#[test]
fn what_has_waited_is_not_overtaken() {
    let mut kernel = kernel();
    // `q` is the result of a message that waits for `p`, which is a's own.
    send(&mut kernel, 1, "o-50", "take", &["p+7"], None);
    assert_eq!(next(&mut kernel), "v2 o+0 take");
    send(&mut kernel, 2, "p-60", "open", &[], Some("p+5"));
    send(&mut kernel, 2, "p+5", "first", &[], None);
    assert_eq!(next(&mut kernel), "v1 p+7 open");
    // It sends that on, and `q` is nobody's until then.
    send(&mut kernel, 1, "o-51", "open", &[], Some("p-60"));
    assert_eq!(next(&mut kernel), "v3 o+0 open");
    send(&mut kernel, 3, "o+0", "later", &[], None);
    assert_eq!(next(&mut kernel), "v3 p-60 first");
    assert_eq!(next(&mut kernel), "v3 o+0 later");
    assert_eq!(next(&mut kernel), "Idle");
}

/// Who has resolved a promise hears of it like the others if it has met it again, whoever is told first.
#[test]
fn who_has_resolved_a_promise_is_told_when_it_asks() {
    let mut kernel = kernel();
    send(&mut kernel, 1, "o-50", "open", &[], Some("p+5"));
    send(&mut kernel, 1, "o-50", "take", &["p+5"], None);
    assert_eq!(next(&mut kernel), "v2 o+0 open");
    kernel.syscall_resolve(2, &[("p-60", false, "1", vec![])]).unwrap();
    assert_eq!(next(&mut kernel), "v2 o+0 take");
    kernel.syscall_subscribe(2, "p-60").unwrap();
    assert_eq!(next(&mut kernel), "v1 notify p+5");
    assert_eq!(next(&mut kernel), "v2 notify p-60");
    assert_eq!(next(&mut kernel), "Idle");
}
