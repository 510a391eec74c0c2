//! Each device as vats and the host see it.

use super::command::{Command, Response};
use super::http::Http;
use super::loopbox::Loopbox;
use super::mailbox::Mailbox;
use super::timer::Timer;
use super::value::{Dialect, Value, decode, from_json};
use super::vat_admin::VatAdmin;
use super::{Admin, AdminAnswer, CapData, Device, Outlet, ReapInterval, VatOptions};

/// A kernel that writes down what it is asked.
#[derive(Default)]
struct Kernel {
    sent: Vec<String>,
    asked: Vec<Admin>,
    answers: Vec<Result<AdminAnswer, String>>,
}

impl Outlet for Kernel {
    fn send(&mut self, target: &str, method: &str, args: CapData) {
        self.sent.push(format!("{target}!{method}{}{}", args.body, args.slots.join(",")));
    }

    fn admin(&mut self, ask: Admin) -> Result<AdminAnswer, String> {
        self.asked.push(ask);
        if self.answers.is_empty() { Ok(AdminAnswer::Done) } else { self.answers.remove(0) }
    }
}

fn data(body: &str, slots: &[&str]) -> CapData {
    CapData { body: body.into(), slots: slots.iter().map(|slot| (*slot).to_owned()).collect() }
}

/// Calls the root node: the body of the answer, with its slots behind it, or the error.
fn call(device: &mut dyn Device, kernel: &mut Kernel, method: &str, body: &str, slots: &[&str]) -> String {
    call_node(device, kernel, "d+0", method, body, slots)
}

fn call_node(device: &mut dyn Device, kernel: &mut Kernel, node: &str, method: &str, body: &str, slots: &[&str]) -> String {
    match device.call(kernel, node, method, &data(body, slots)) {
        Ok(answer) => format!("{}{}", answer.body, answer.slots.join(",")),
        Err(error) => format!("Error: {error}"),
    }
}

const SLOT: &str = r#"{"@qclass":"slot","index":0}"#;

#[test]
fn values_are_read_and_written_in_both_dialects() {
    let rows = [
        (r#"[1,-1.5,true,null,"a"]"#, r#"#[1,-1.5,true,null,"a"]"#),
        (r#"[{"@qclass":"undefined"},{"@qclass":"NaN"}]"#, r##"#["#undefined","#NaN"]"##),
        (r#"[{"@qclass":"Infinity"},{"@qclass":"-Infinity"}]"#, r##"#["#Infinity","#-Infinity"]"##),
        (r#"[{"@qclass":"bigint","digits":"12"},{"@qclass":"bigint","digits":"-3"}]"#, r##"#["+12","-3"]"##),
        (r##"["#x","!y","-","~"]"##, r##"#["!#x","!!y","!-","~"]"##),
        (r#"{"a":[],"b":{"c":"d"}}"#, r#"#{"a":[],"b":{"c":"d"}}"#),
        (r#"{"@qclass":"error","name":"TypeError","message":"no"}"#, r##"#{"#error":"no","name":"TypeError"}"##),
        (r#"{"@qclass":"tagged","tag":"t","payload":[1]}"#, r##"#{"#tag":"t","payload":[1]}"##),
    ];
    for (early, today) in rows {
        let (value, dialect) = decode(&data(early, &[])).unwrap();
        assert_eq!(dialect, Dialect::Qclass);
        let (again, dialect) = decode(&data(today, &[])).unwrap();
        assert_eq!(dialect, Dialect::Smallcaps);
        assert_eq!(format!("{value:?}"), format!("{again:?}"));
        assert_eq!(Dialect::Qclass.encode(&value).body, early);
        assert_eq!(Dialect::Smallcaps.encode(&value).body, today);
    }
}

#[test]
fn references_keep_their_slots() {
    let (value, _) = decode(&data(r##"#["$1.Alleged: a","&0","$1"]"##, &["p-60", "o-50"])).unwrap();
    assert_eq!(Dialect::Smallcaps.encode(&value), data(r##"#["$0.Alleged: a","&1","$0"]"##, &["o-50", "p-60"]));
    let ibid =
        data(r#"[{"@qclass":"slot","index":0},{"a":1},{"@qclass":"ibid","index":1},{"@qclass":"ibid","index":2}]"#, &["o-50"]);
    let (Value::Array(items), _) = decode(&ibid).unwrap() else { panic!("an array") };
    assert_eq!(items[0], items[2]);
    assert_eq!(items[1], items[3]);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let bad = [
        "",
        "#",
        "[",
        "[1,]",
        "{\"a\":}",
        "01",
        "1.",
        "+1",
        "\"\\x\"",
        "nul",
        "[1] 2",
        "{1:2}",
        "\"\u{1}\"",
        "#\"#nope\"",
        "#\"+1x\"",
        "#\"-0\"",
        "#\"(x\"",
        "#\"$0\"",
        "#\"$é\"",
        "#{\"#x\":1}",
        "#{\"#tag\":\"t\"}",
        "{\"@qclass\":1}",
        "{\"@qclass\":\"é\"}",
        "{\"@qclass\":\"slot\",\"index\":0}",
        "{\"@qclass\":\"slot\",\"index\":-1}",
        "[{\"@qclass\":\"ibid\",\"index\":0}]",
        "{\"@qclass\":\"ibid\",\"index\":7}",
        "{\"@qclass\":\"bigint\",\"digits\":\"1x\"}",
        "\"\\ud800\"",
        "\"é",
        "\"\\",
    ];
    for body in bad {
        assert!(decode(&data(body, &[])).is_err(), "{body}");
    }
    assert!(decode(&data(&"[".repeat(100_000), &[])).unwrap_err().starts_with("nested more than"));
    let mut bomb = String::from("[[1]");
    for level in 1..200 {
        bomb.push_str(&format!(r#",[{0},{0}]"#, format_args!(r#"{{"@qclass":"ibid","index":{level}}}"#)));
    }
    assert_eq!(decode(&data(&format!("{bomb}]"), &[])).unwrap_err(), "the ibids say too much");
}

#[test]
fn numbers_are_those_of_javascript() {
    for text in ["0.1", "5e-324", "1.7976931348623157e308", "123456789012345680000", "0.30000000000000004"] {
        let expected: f64 = text.parse().unwrap();
        assert_eq!(from_json(text).unwrap(), Value::Number(expected));
    }
    assert_eq!(from_json(r#"{"a":[1,"é\u00e9"]}"#).unwrap().to_json().unwrap().unwrap(), r#"{"a":[1,"éé"]}"#);
}

#[test]
fn the_mailbox_passes_each_message_on_once() {
    let (mut mailbox, mut kernel) = (Mailbox::default(), Kernel::default());
    let early = mailbox.deliver_inbound("bob", None, &[(1, "hi".into())], 0, &mut kernel);
    assert_eq!(early.unwrap_err(), "deliverInboundMessages before registerInboundHandler");
    let register = format!("[{SLOT}]");
    assert_eq!(call(&mut mailbox, &mut kernel, "registerInboundHandler", &register, &["o-10"]), r#"{"@qclass":"undefined"}"#);
    assert_eq!(call(&mut mailbox, &mut kernel, "registerInboundHandler", &register, &["o-10"]), "Error: already registered");
    assert!(mailbox.changed());
    let two = [(1, "hi".to_owned()), (2, "there".to_owned())];
    assert!(mailbox.deliver_inbound("bob", None, &two[..1], 0, &mut kernel).unwrap());
    assert!(mailbox.deliver_inbound("bob", None, &two, 3, &mut kernel).unwrap());
    assert!(!mailbox.deliver_inbound("bob", None, &two, 3, &mut kernel).unwrap());
    assert_eq!(
        kernel.sent,
        [
            r#"o-10!deliverInboundMessages["bob",[[1,"hi"]]]"#,
            r#"o-10!deliverInboundMessages["bob",[[2,"there"]]]"#,
            r#"o-10!deliverInboundAck["bob",3]"#,
        ]
    );
    mailbox.saved();
    assert!(!mailbox.changed());
    let mut mailbox = Mailbox::load(&mailbox.save()).unwrap();
    assert!(!mailbox.deliver_inbound("bob", None, &two, 3, &mut kernel).unwrap());
}

#[test]
fn the_mailbox_knows_one_kernel_by_a_name() {
    let (mut mailbox, mut kernel) = (Mailbox::default(), Kernel::default());
    call(&mut mailbox, &mut kernel, "registerInboundHandler", &format!("[{SLOT}]"), &["o-10"]);
    let mut hear = |mailbox: &mut Mailbox, id: Option<&str>, number, ack| {
        mailbox.deliver_inbound("bob", id, &[(number, "hi".into())], ack, &mut kernel)
    };
    // As ledgers have it in which nobody said who he is.
    assert_eq!(hear(&mut mailbox, None, 1, 0), Ok(true));
    let old = mailbox.save();
    assert!(!old.contains("\"id\""), "{old}");
    let mut mailbox = Mailbox::load(&old).unwrap();
    assert!(mailbox.peers()["bob"].is_nameless());
    assert_eq!(hear(&mut mailbox, Some("b1"), 1, 0), Ok(true), "it has a name now");
    assert_eq!(hear(&mut mailbox, Some("b1"), 1, 0), Ok(false));
    let mut mailbox = Mailbox::load(&mailbox.save()).unwrap();
    assert!(mailbox.peers()["bob"].is_other("b2") && !mailbox.peers()["bob"].is_other("b1"));
    assert_eq!(hear(&mut mailbox, Some("b2"), 2, 7).unwrap_err(), "'bob' is another kernel than before");
    assert_eq!((mailbox.peers()["bob"].delivered, mailbox.peers()["bob"].acknowledged), (1, 0));
    assert_eq!(hear(&mut mailbox, Some("b1"), 2, 0), Ok(true));
    assert_eq!(kernel.sent.len(), 2);
}

#[test]
fn the_mailbox_keeps_what_is_not_acknowledged() {
    let (mut mailbox, mut kernel) = (Mailbox::default(), Kernel::default());
    for (number, message) in [(10, "k"), (9, "i"), (11, "l")] {
        call(&mut mailbox, &mut kernel, "add", &format!(r#"#["bob","+{number}","{message}"]"#), &[]);
    }
    assert_eq!(call(&mut mailbox, &mut kernel, "remove", r#"["bob",9]"#, &[]), r#"{"@qclass":"undefined"}"#);
    assert_eq!(call(&mut mailbox, &mut kernel, "ackInbound", r#"#["bob",4]"#, &[]), r##"#"#undefined""##);
    assert_eq!(mailbox.export(), r#"{"bob":{"outbox":[[10,"k"],[11,"l"]],"inboundAck":4}}"#);
    for (message, fits) in [("x".repeat((4 << 20) - 2), true), ("x".repeat((4 << 20) - 1), false), ("\\t".repeat(2 << 20), false)]
    {
        let answer = call(&mut mailbox, &mut kernel, "add", &format!(r#"["bob",12,"{message}"]"#), &[]);
        let refusal = "Error: error in add: a message may have 4194304 bytes";
        assert_eq!(answer, if fits { r#"{"@qclass":"undefined"}"# } else { refusal });
        call(&mut mailbox, &mut kernel, "remove", r#"["bob",12]"#, &[]);
    }
    assert_eq!(Mailbox::load(&mailbox.save()).unwrap().peers(), mailbox.peers());
    assert_eq!(
        call(&mut mailbox, &mut kernel, "add", r#"["bob",-1,"m"]"#, &[]),
        "Error: error in add: -1 is not a natural number"
    );
    assert_eq!(
        call(&mut mailbox, &mut kernel, "nope", "[]", &[]),
        "Error: target[nope] does not exist, has ackInbound,add,registerInboundHandler,remove"
    );
    assert_eq!(call_node(&mut mailbox, &mut kernel, "d+1", "add", "[]", &[]), "Error: unknown device node d+1");
}

#[test]
fn the_timer_wakes_in_order_and_goes_forward_only() {
    let (mut timer, mut kernel) = (Timer::default(), Kernel::default());
    assert!(!timer.poll(5, &mut kernel).unwrap());
    for now in [3, 5] {
        assert_eq!(timer.poll(now, &mut kernel).unwrap_err(), format!("Time is monotonic. {now} must be greater than 5"));
    }
    // A Number is a delay, a BigInt is a time.
    assert_eq!(call(&mut timer, &mut kernel, "setWakeup", &format!("[3,{SLOT}]"), &["o-10"]), "8");
    assert_eq!(call(&mut timer, &mut kernel, "setWakeup", r#"#["+7","$0.Alleged: w"]"#, &["o-11"]), r#"#"+7""#);
    assert_eq!(call(&mut timer, &mut kernel, "getLastPolled", "#[]", &[]), r#"#"+5""#);
    assert_eq!(timer.next_wakeup(), Some(7));
    let mut timer = Timer::load(&timer.save()).unwrap();
    assert!(timer.poll(9, &mut kernel).unwrap());
    assert_eq!(kernel.sent, [r#"o-11!wake#["+7"]"#, "o-10!wake[8]"]);
    assert_eq!(timer.next_wakeup(), None);
    call(&mut timer, &mut kernel, "setWakeup", &format!("[1,{SLOT}]"), &["o-10"]);
    call(&mut timer, &mut kernel, "setWakeup", &format!("[2,{SLOT}]"), &["o-10"]);
    assert_eq!(call(&mut timer, &mut kernel, "removeWakeup", &format!("[{SLOT}]"), &["o-10"]), "[10,11]");
    assert_eq!(timer.next_wakeup(), None);
}

#[test]
fn a_repeater_does_not_drift() {
    let (mut timer, mut kernel) = (Timer::default(), Kernel::default());
    timer.poll(3, &mut kernel).unwrap();
    assert_eq!(call(&mut timer, &mut kernel, "createRepeater", "[1,5]", &[]), "0");
    assert_eq!(call(&mut timer, &mut kernel, "schedule", &format!("[0,{SLOT}]"), &["o-10"]), "6");
    timer.poll(14, &mut kernel).unwrap();
    assert_eq!(timer.next_wakeup(), Some(16));
    call(&mut timer, &mut kernel, "deleteRepeater", "[0]", &[]);
    timer.poll(17, &mut kernel).unwrap();
    assert_eq!(timer.next_wakeup(), None);
    assert_eq!(kernel.sent, ["o-10!wake[6]", "o-10!wake[16]"]);
    assert_eq!(call(&mut timer, &mut kernel, "schedule", &format!("[0,{SLOT}]"), &["o-10"]), "Error: there is no repeater 0");
    assert!(call(&mut timer, &mut kernel, "createRepeater", "[1,0]", &[]).starts_with("Error"));
}

#[test]
fn commands_are_answered_once() {
    let (mut command, mut kernel) = (Command::default(), Kernel::default());
    assert_eq!(command.inbound(3, "aa".into(), "1", &mut kernel).unwrap_err(), "inboundCallback before registerInboundHandler");
    call(&mut command, &mut kernel, "registerInboundHandler", r#"#["$0"]"#, &["o-10"]);
    command.inbound(3, "aa".into(), r#"{"a":["-x"]}"#, &mut kernel).unwrap();
    assert_eq!(kernel.sent, [r#"o-10!inbound#[3,{"a":["!-x"]}]"#]);
    let mut command = Command::load(&command.save()).unwrap();
    assert_eq!(call(&mut command, &mut kernel, "sendResponse", r#"#[3,false,{"b":2}]"#, &[]), r##"#"#undefined""##);
    assert_eq!(
        call(&mut command, &mut kernel, "sendResponse", r#"#[3,false,1]"#, &[]),
        "Error: error during sendResponse: unknown response index 3"
    );
    let mut command = Command::load(&command.save()).unwrap();
    let response = Response { number: 3, input: "aa".into(), is_reject: false, body: Some(r#"{"b":2}"#.into()) };
    assert_eq!(command.take_responses(), [response]);
    assert!(command.take_responses().is_empty());
    call(&mut command, &mut kernel, "sendBroadcast", r#"["x"]"#, &[]);
    assert_eq!(command.take_broadcasts(), [r#""x""#]);
    assert!(call(&mut command, &mut kernel, "sendBroadcast", &format!("[{SLOT}]"), &["o-10"]).starts_with("Error: error during"));
}

#[test]
fn the_loopbox_connects_transports() {
    let (mut loopbox, mut kernel) = (Loopbox::default(), Kernel::default());
    call(&mut loopbox, &mut kernel, "registerInboundHandler", &format!(r#"["user",{SLOT}]"#), &["o-10"]);
    assert_eq!(call(&mut loopbox, &mut kernel, "makeSender", r#"["user"]"#, &[]), format!("{SLOT}d+1"));
    assert_eq!(call(&mut loopbox, &mut kernel, "makeSender", r#"#["bot"]"#, &[]), r#"#"$0.Alleged: loopbox sender"d+2"#);
    let mut loopbox = Loopbox::load(&loopbox.save()).unwrap();
    for number in [1, 2] {
        call_node(&mut loopbox, &mut kernel, "d+2", "add", &format!(r#"["user",{number},"m{number}"]"#), &[]);
    }
    assert_eq!(call_node(&mut loopbox, &mut kernel, "d+1", "add", r#"["bot",1,"m"]"#, &[]), "Error: unregistered peer 'bot'");
    assert_eq!(call_node(&mut loopbox, &mut kernel, "d+1", "ackInbound", r#"["bot",1]"#, &[]), r#"{"@qclass":"undefined"}"#);
    assert_eq!(call_node(&mut loopbox, &mut kernel, "d+3", "add", "[]", &[]), "Error: unknown device node d+3");
    assert_eq!(
        kernel.sent,
        [r#"o-10!deliverInboundMessages["bot",[[1,"m1"]]]"#, r#"o-10!deliverInboundMessages["bot",[[2,"m2"]]]"#]
    );
}

#[test]
fn the_http_device_knows_the_methods() {
    let (mut http, mut kernel) = (Http::default(), Kernel::default());
    assert_eq!(http.methods(), None);
    call(&mut http, &mut kernel, "methods", r#"#["[\"read\",\"add\",\"add\"]"]"#, &[]);
    let mut http = Http::load(&http.save()).unwrap();
    assert_eq!(http.methods().unwrap(), ["add", "read"]);
    assert!(call(&mut http, &mut kernel, "methods", r#"#["[1]"]"#, &[]).starts_with("Error"));
    assert!(call(&mut http, &mut kernel, "methods", "#[1]", &[]).starts_with("Error"));
}

#[test]
fn vats_are_made_from_bundles() {
    let (mut admin, mut kernel) = (VatAdmin::default(), Kernel::default());
    kernel.answers = vec![Ok(AdminAnswer::Id("b1-aa".into())), Ok(AdminAnswer::Nothing), Ok(AdminAnswer::Id("b1-aa".into()))];
    assert_eq!(call(&mut admin, &mut kernel, "getNamedBundleCap", r#"#["counter"]"#, &[]), r#"#"$0.Alleged: device"d+1"#);
    assert_eq!(call(&mut admin, &mut kernel, "getNamedBundleCap", r#"#["nope"]"#, &[]), "Error: unregistered bundle name 'nope'");
    assert_eq!(call(&mut admin, &mut kernel, "getBundleCap", r#"#["b1-aa"]"#, &[]), r#"#"$0.Alleged: device"d+1"#);
    let mut admin = VatAdmin::load(&admin.save()).unwrap();
    assert_eq!(call_node(&mut admin, &mut kernel, "d+1", "getBundleID", "#[]", &[]), r#"#"b1-aa""#);

    kernel.asked.clear();
    kernel.answers = vec![Ok(AdminAnswer::Id("v9".into())), Err("no such bundle".into())];
    let options = r##"{"critical":false,"enableSetup":true,"meterID":"m1","name":"c","reapInterval":"never","vatParameters":{"x":["$1.Alleged: o","+5"]}}"##;
    let create = format!(r##"#["b1-aa",{options}]"##);
    assert_eq!(call(&mut admin, &mut kernel, "createByBundleID", &create, &["o-1", "o-2"]), r#"#"v9""#);
    assert_eq!(call(&mut admin, &mut kernel, "createByBundleID", r#"#["b1-bb",{}]"#, &[]), "Error: no such bundle");
    assert_eq!(
        kernel.asked[0],
        Admin::Create {
            bundle_id: "b1-aa".into(),
            options: VatOptions {
                name: Some("c".into()),
                meter_id: Some("m1".into()),
                enable_setup: true,
                critical: false,
                reap_interval: Some(ReapInterval::Never),
                parameters: Some(data(r##"#{"x":["$0.Alleged: o","+5"]}"##, &["o-2"])),
            },
        }
    );
    assert_eq!(
        call(&mut admin, &mut kernel, "createByBundleID", r#"#["b1-aa",{"colour":1}]"#, &[]),
        "Error: CreateVatOptions(colour)"
    );
}

#[test]
fn vats_are_upgraded_ended_and_metered() {
    let (mut admin, mut kernel) = (VatAdmin::default(), Kernel::default());
    kernel.answers = vec![
        Ok(AdminAnswer::Id("up1".into())),
        Ok(AdminAnswer::Done),
        Ok(AdminAnswer::Done),
        Ok(AdminAnswer::Id("m1".into())),
        Ok(AdminAnswer::Meter { remaining: Some(100), threshold: 5 }),
        Ok(AdminAnswer::Meter { remaining: None, threshold: 0 }),
    ];
    let calls = [
        ("upgradeVat", r##"#["v9","b1-bb","#undefined","why"]"##, r#"#"up1""#),
        ("terminateWithFailure", r##"#["v9",{"#error":"bad","name":"Error"}]"##, r##"#"#undefined""##),
        ("changeOptions", r#"#["v9",{"reapInterval":7}]"#, r##"#"#undefined""##),
        ("createMeter", r#"#["+100","+5"]"#, r#"#"m1""#),
        ("getMeter", r#"#["m1"]"#, r#"#{"remaining":"+100","threshold":"+5"}"#),
        ("getMeter", r#"#["m2"]"#, r#"#{"remaining":"unlimited","threshold":"+0"}"#),
        ("createMeter", "#[100,5]", "Error: createMeter() remaining must be a BigInt"),
        ("addMeterRemaining", r#"#["m1","-1"]"#, "Error: addMeterRemaining() delta is out of range"),
        ("changeOptions", r#"#["v9",{"reapInterval":"often"}]"#, "Error: invalid reapInterval value"),
    ];
    for (method, args, answer) in calls {
        assert_eq!(call(&mut admin, &mut kernel, method, args, &[]), answer, "{method}");
    }
    let undefined = data(r##"#"#undefined""##, &[]);
    let (vat_id, bundle_id) = ("v9".to_owned(), "b1-bb".to_owned());
    assert_eq!(
        kernel.asked[0],
        Admin::Upgrade { vat_id: vat_id.clone(), bundle_id, parameters: undefined, message: "why".into() }
    );
    assert_eq!(
        kernel.asked[1],
        Admin::Terminate { vat_id: vat_id.clone(), reason: data(r##"#{"#error":"bad","name":"Error"}"##, &[]) }
    );
    assert_eq!(kernel.asked[2], Admin::ChangeOptions { vat_id, reap_interval: Some(ReapInterval::Deliveries(7)) });
    assert_eq!(kernel.asked[3], Admin::CreateMeter { remaining: Some(100), threshold: 5 });
}

#[test]
fn no_call_makes_a_device_panic() {
    let bodies = [
        "",
        "[]",
        "#[]",
        "#[\"a\"]",
        "[\"a\",1]",
        "#[\"+99999999999999999999999\",\"$0\"]",
        "[1e308,{\"@qclass\":\"slot\",\"index\":0}]",
        "#[\"a\",\"b\",\"c\",\"d\"]",
        "#[{}]",
        "[null,null,null]",
        "#[\"$0\",\"$0\",\"$0\"]",
        "#[0,\"$0\"]",
        "{}",
        "#[\"a\",{\"reapInterval\":-1}]",
        "[9007199254740991,9007199254740991,\"x\"]",
        "[9007199254740991,{\"@qclass\":\"slot\",\"index\":0}]",
        "#[\"é\",\"+1\",\"m\"]",
    ];
    let mut kernel = Kernel::default();
    let devices: [&mut dyn Device; 6] = [
        &mut Mailbox::default(),
        &mut Timer::default(),
        &mut Command::default(),
        &mut Loopbox::default(),
        &mut Http::default(),
        &mut VatAdmin::default(),
    ];
    for device in devices {
        let has = call(device, &mut kernel, "?", "[]", &[]);
        for method in has.split_once("has ").unwrap().1.split(',') {
            for node in ["d+0", "d+1", "d+99999999999999999999", "d+", "o-1", ""] {
                for slots in [&["o-10"][..], &["p-60"], &["d+0"], &[]] {
                    for body in bodies {
                        call_node(device, &mut kernel, node, method, body, slots);
                    }
                }
            }
        }
        assert!(!device.save().is_empty());
    }
}
