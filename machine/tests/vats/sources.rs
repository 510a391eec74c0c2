//! Modules of vats: one of each, and places in them as they were written.

use crate::stage::{Stage, printed, today, with_stack};
use machine::vats::Work;

#[test]
fn a_module_is_evaluated_once_whatever_it_is_called() {
    let imports =
        "import { a } from './lib'; import { b } from './lib/index'; import { c } from './other/../lib/index.js';
         import { deep } from './lib/deep/';
         import './lib/count.js'; import './lib/count';
         import * as t1 from '@agoric/swingset-vat/src/vats/timer'; import * as t2 from '@agoric/swingset-vat/src/vats/timer.js';\n";
    let bootstrap = imports.to_owned() + &today("{ bootstrap() { console.log(a === b, b === c, deep === c, t1 === t2); } }");
    let lines = printed(&[
        ("lib/index.js", "import { count } from './count'; export const a = count(), b = a, c = a;"),
        ("lib/deep/index.js", "export { a as deep } from '..';"),
        ("lib/count.js", "let n = 0; export const count = () => { n += 1; return { n }; }; console.log('counting');"),
        ("bootstrap.js", &bootstrap),
    ]);
    assert_eq!(lines, ["counting", "true true true true"]);
}

#[test]
fn stack_traces_have_the_columns_that_were_written() {
    let fails = "const x = Promise.resolve(1);\nx~.a(x~.b)~.c(); null.y;\n";
    with_stack(|| {
        let mut stage = Stage::empty();
        let install = crate::stage::install(&[("bootstrap.js", fails)], &[]);
        let failure = stage.work(Work::Install(Box::new(install))).unwrap_err();
        let place = failure.stack.lines().find(|line| line.contains(".js")).map(str::trim);
        assert_eq!(place, Some("at <anonymous> (/bootstrap.js:2:18)"), "{failure:?}");
    });
    let prints = "import { Far } from '@endo/far';
export const buildRootObject = (vatPowers) => Far('root', { bootstrap() {
const f = x => { x~.y(); x~.y(); throw Error('no'); };
try { f(Far('it', { y() {} })); } catch (e) { console.log(e); }
} });";
    let lines = printed(&[("bootstrap.js", prints)]);
    let frames: Vec<&str> = lines.iter().flat_map(|line| line.lines()).take(3).map(str::trim).collect();
    assert_eq!(frames, ["Error: no", "at f (/bootstrap.js:3:40)", "at bootstrap (/bootstrap.js:4:9)"], "{lines:?}");
}
