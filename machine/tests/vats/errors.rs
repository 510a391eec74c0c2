//! Where an error was thrown is for the console of the vat that threw it; others get its class and message.

use super::stage::{Stage, old, today, with_stack};

const LIB: &str = "export const first = list => {
  return list.items[0];
};";

fn lines(files: &[(&str, &str)]) -> Vec<String> {
    with_stack(|| {
        let mut stage = Stage::new(files, &[]);
        stage.run_audited();
        stage.lines().into_iter().map(|(level, line)| format!("{level:?} {line}")).collect()
    })
}

#[test]
fn the_place_is_shown_once_and_where_it_is() {
    let carol =
        today("{ look(x) { return first(x); } }").replace("export const", "import { first } from './lib.js'; export const");
    let bob = today("{ async ask(carol) { return E(carol).look({}); } }");
    let bootstrap = today("{ async bootstrap({ bob, carol }) { await E(bob).ask(carol).catch(e => console.log(e)); } }");
    let files = [("lib.js", LIB), ("vat-carol.js", &carol), ("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)];
    let lines = lines(&files);
    let message = "TypeError: cannot read property '0' of undefined";
    let [sent, shown] = &lines[..] else { panic!("{lines:?}") };
    assert!(sent.starts_with(&format!("Debug Error sent: {message}\n    at first (/lib.js:2:")), "{sent}");
    assert!(sent.contains("\n    at look (/vat-carol.js:") && !sent.contains("glassbox:") && !sent.contains("native"), "{sent}");
    // It has none of its own.
    assert_eq!(shown, &format!("Info [{message}]"));
}

#[test]
fn what_nobody_waits_for_is_an_error_of_the_vat() {
    let bob = old("{ async fails() { throw RangeError('nobody'); } }");
    let bootstrap = old("{ bootstrap(argv, { bob }) { E.sendOnly(bob).fails(); null.x; } }");
    let lines = lines(&[("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)]);
    let [bootstrap, bob] = &lines[..] else { panic!("{lines:?}") };
    assert!(bootstrap.starts_with("Error Unhandled rejection in vat _bootstrap (v2): TypeError: "), "{bootstrap}");
    assert!(bootstrap.contains("\n    at bootstrap (/bootstrap.js:3:"), "{bootstrap}");
    assert!(bob.starts_with("Error Unhandled rejection in vat bob (v1): RangeError: nobody\n    at "), "{bob}");
    assert!(bob.contains("(/vat-bob.js:3:") && !bob.contains("glassbox:"), "{bob}");
}
