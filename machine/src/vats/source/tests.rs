use super::module::{Dialect, Form, Module, dialect};
use super::packages::is_package;
use super::{Source, join};

#[test]
fn dialects() {
    for (source, expected) in [
        ("export default function setup(syscall) {}", Dialect::Setup),
        ("export default (syscall, state, helpers) => helpers.makeLiveSlots()", Dialect::Setup),
        ("export default function (syscall) {}", Dialect::Setup),
        ("function setup() {} export default setup", Dialect::Setup),
        ("const setup = (function () {}); export { setup as default }; export function buildRootObject(E) {}", Dialect::Setup),
        ("export function buildRootObject(E, D) { return harden({ a() { return E(D)~.b() } }) }", Dialect::Early),
        ("export const buildRootObject = (E) => harden({})", Dialect::Early),
        ("const build = async function (E) {}; export { build as buildRootObject }", Dialect::Early),
        ("export { build as 'buildRootObject' }; function build(E) {}", Dialect::Early),
        ("export const buildRootObject = E => 1, other = 2", Dialect::Early),
        ("export const buildRootObject = (vatPowers, vatParameters, baggage) => Far('root', {})", Dialect::Today),
        ("export function buildRootObject() {}", Dialect::Today),
        ("export function buildRootObject({ E }) {}", Dialect::Today),
        ("export const buildRootObject = (E = 1) => 1", Dialect::Early),
        ("export const buildRootObject = (...E) => 1", Dialect::Today),
        ("const buildRootObject = E => 1; export const a = 1", Dialect::Today),
        ("export default {}; export const buildRootObject = E => 1", Dialect::Early),
        ("export default class {}", Dialect::Today),
        ("", Dialect::Today),
        ("export let buildRootObject = E => 1", Dialect::Unknown),
        ("export const buildRootObject = harden(E => 1)", Dialect::Unknown),
        ("export const { buildRootObject } = make()", Dialect::Unknown),
        ("export { buildRootObject } from './a.js'", Dialect::Unknown),
        ("export { a as default } from './a.js'", Dialect::Unknown),
        ("import { buildRootObject } from './a.js'; export { buildRootObject }", Dialect::Unknown),
        ("import setup from './a.js'; export default setup", Dialect::Unknown),
        ("export * from './a.js'", Dialect::Unknown),
        ("export * as a from './a.js'", Dialect::Today),
        ("export * from './a.js'; export function buildRootObject(E) {}", Dialect::Early),
        ("export default harden(function setup() {})", Dialect::Unknown),
    ] {
        assert_eq!(dialect(source), Ok(expected), "{source}");
    }
}

#[test]
fn imports() {
    let source = "import a from './a.js';\nimport 'b'; export * from \"./c\\u002ejs\";\nexport {\n d } from './d.js'; import defer * as e from './e.js';
        x~.y(import('f'), import(`g`), import('h' + i), import.meta); import j from './j' with { type: 'json' }; export { a }; 'import \"k\"' // import 'l'";
    let imports = Module::read(source).unwrap().imports;
    let seen: Vec<(&str, u32, Form)> =
        imports.iter().map(|import| (import.specifier.as_str(), import.line, import.form)).collect();
    assert_eq!(
        seen,
        [
            ("./a.js", 1, Form::Static),
            ("b", 2, Form::Static),
            ("./c.js", 2, Form::Static),
            ("./d.js", 4, Form::Static),
            ("./e.js", 4, Form::Foreign),
            ("f", 5, Form::Dynamic),
            ("g", 5, Form::Dynamic),
            ("./j", 5, Form::Foreign),
        ]
    );
}

#[test]
fn paths() {
    for (importer, specifier, expected) in [
        ("/a.js", "./b.js", Some("/b.js")),
        ("/lib/a.js", "../b.js", Some("/b.js")),
        ("/lib/a.js", ".././/c/./../b.js", Some("/b.js")),
        ("/a.js", "../b.js", None),
        ("/lib/a.js", "../../lib/b.js", None),
        ("/lib/a.js", "..", Some("/")),
        ("/", "./b.js", Some("/b.js")),
    ] {
        assert_eq!(join(importer, specifier).as_deref(), expected, "{importer} {specifier}");
    }
}

#[test]
fn packages() {
    for known in [
        "@endo/far",
        "@endo/harden",
        "ses",
        "@agoric/swingset-vat/src/vats/comms",
        "@agoric/swingset-vat/src/vats/comms/index.js",
        "@agoric/swingset-vat/src/vats/vattp.js",
    ] {
        assert!(is_package(known), "{known}");
    }
    for unknown in [
        "",
        "fs",
        "@endo/far/",
        "@endo/farther",
        "@agoric/swingset-vat/src/vats/comms2",
        "@agoric/swingset-vat/src/vats/../kernel.js",
    ] {
        assert!(!is_package(unknown), "{unknown}");
    }
}

#[test]
fn what_is_written_is_read_strictly() {
    let json = r#"{"vats":[{"name":"a","module":"/a.js","parameters":{"b":1}}],"bootstrap":"a","modules":{"/a.js":"x"}}"#;
    let source: Source = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&source).unwrap(), json);
    assert!(serde_json::from_str::<Source>(&json.replace("\"name\"", "\"nane\"")).is_err());
    assert!(serde_json::from_str::<Source>(&json.replace("\"vats\"", "\"more\":1,\"vats\"")).is_err());
}
