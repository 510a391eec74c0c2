//! The kernel's tables, step by step, as SwingSet 0.3.0 printed them.

use super::stage::{Stage, with_stack};
use machine::vats::Dump;
use serde_json::{Value, json};

pub const BOOTSTRAP: &str = include_str!("../../../examples/encouragement/bootstrap.js");
pub const BOT: &str = include_str!("../../../examples/encouragement/vat-bot.js");
pub const USER: &str = include_str!("../../../examples/encouragement/vat-user.js");

pub fn encouragement() -> Stage {
    Stage::new(&[("vat-bot.js", BOT), ("vat-user.js", USER), ("bootstrap.js", BOOTSTRAP)], &[])
}

fn rows(dump: &Dump) -> Vec<String> {
    dump.kernel_table.iter().map(|(kref, id, vref)| format!("{kref} {id} {vref}")).collect()
}

/// Promises and the queue, without what 0.3.0 did not have.
fn rest(dump: &Dump) -> (Value, Value) {
    let mut promises = serde_json::to_value(&dump.promises).unwrap();
    for promise in promises.as_array_mut().unwrap() {
        promise.as_object_mut().unwrap().remove("refCount");
    }
    (promises, serde_json::to_value(&dump.run_queue).unwrap())
}

#[test]
fn the_encouragement_bot_step_by_step() {
    with_stack(|| {
        let mut stage = encouragement();
        assert_eq!(stage.console(), ["=> loading bootstrap.js", "=> setup called"]);
        let dump = stage.dump();
        let names: Vec<_> = dump.vat_tables.iter().map(|vat| format!("{} {}", vat.vat_id, vat.name)).collect();
        assert_eq!(names, ["v1 bot", "v2 user", "v3 _bootstrap"]);
        assert_eq!(rows(&dump), ["kd30 d7 d+0", "ko20 v3 o+0", "ko21 v1 o+0", "ko22 v2 o+0"]);
        let body = r#"[[],{"_bootstrap":{"@qclass":"slot","index":0},"bot":{"@qclass":"slot","index":1},"user":{"@qclass":"slot","index":2}},{"_dummy":"dummy","loopbox":{"@qclass":"slot","index":3}}]"#;
        let send = |target: &str, method: &str, body: &str, slots: &[&str], result: Value| json!({ "type": "send", "target": target, "msg": { "method": method, "args": { "body": body, "slots": slots }, "result": result } });
        let notify = |vat: &str, promise: &str| json!({ "type": "notify", "vatID": vat, "kpid": promise });
        let first = send("ko20", "bootstrap", body, &["ko20", "ko21", "ko22", "kd30"], Value::Null);
        assert_eq!(rest(&dump), (json!([]), json!([first])));

        assert_eq!(stage.cranks(1), (1, false));
        assert_eq!(stage.console(), ["=> bootstrap() called"]);
        let dump = stage.dump();
        let expected = [
            "kd30 d7 d+0",
            "kd30 v3 d-70",
            "ko20 v3 o+0",
            "ko21 v1 o+0",
            "ko21 v3 o-50",
            "ko22 v2 o+0",
            "ko22 v3 o-51",
            "kp40 v3 p+5",
        ];
        assert_eq!(rows(&dump), expected);
        let talk = send("ko22", "talkToBot", r#"[{"@qclass":"slot","index":0},"encouragementBot"]"#, &["ko21"], json!("kp40"));
        let promise = json!({ "id": "kp40", "state": "unresolved", "subscribers": ["v3"], "queue": [] });
        assert_eq!(rest(&dump), (json!([promise]), json!([talk])));

        assert_eq!(stage.cranks(1), (1, false));
        assert_eq!(stage.console(), ["=> user.talkToBot is called with encouragementBot"]);
        let dump = stage.dump();
        let expected = [
            "kd30 d7 d+0",
            "kd30 v3 d-70",
            "ko20 v3 o+0",
            "ko21 v1 o+0",
            "ko21 v2 o-50",
            "ko21 v3 o-50",
            "ko22 v2 o+0",
            "ko22 v3 o-51",
            "kp40 v2 p-60",
            "kp40 v3 p+5",
            "kp41 v2 p+5",
        ];
        assert_eq!(rows(&dump), expected);
        let thanks = r#""Thanks for the setup. I sure hope I get some encouragement...""#;
        let promises = json!([
            { "id": "kp40", "state": "fulfilledToData", "data": { "body": thanks, "slots": [] } },
            { "id": "kp41", "state": "unresolved", "subscribers": ["v2"], "queue": [] },
        ]);
        let queue = json!([send("ko21", "encourageMe", r#"["user"]"#, &[], json!("kp41")), notify("v3", "kp40")]);
        assert_eq!(rest(&dump), (promises, queue));

        assert_eq!(stage.cranks(1), (1, false));
        assert_eq!(stage.console(), ["=> encouragementBot.encourageMe got the name: user"]);
        let dump = stage.dump();
        assert!(rows(&dump).contains(&"kp41 v1 p-60".to_owned()));
        assert_eq!(rest(&dump).1, json!([notify("v3", "kp40"), notify("v2", "kp41")]));

        assert_eq!(stage.cranks(1), (1, false));
        let line = "=> the promise given by the call to user.talkToBot resolved to 'Thanks for the setup. I sure hope I get some encouragement...'";
        assert_eq!(stage.console(), [line]);
        assert_eq!(stage.cranks(100), (1, true), "five deliveries, no more");
        assert_eq!(stage.console(), ["=> user receives the encouragement: user, you are awesome, keep it up!"]);
        let dump = stage.dump();
        assert_eq!(rest(&dump), (json!([]), json!([])));
        let log = [
            "=> setup called",
            "=> user.talkToBot is called with encouragementBot",
            "=> encouragementBot.encourageMe got the name: user",
            line,
            "=> user receives the encouragement: user, you are awesome, keep it up!",
        ];
        assert_eq!(dump.log, log);
        let deliveries: Vec<u64> = dump.vat_tables.iter().map(|vat| vat.deliveries).collect();
        assert_eq!(deliveries.iter().sum::<u64>(), 5 + 3, "a start for each vat, too");
        stage.audit();
    });
}
