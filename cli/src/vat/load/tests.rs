use super::*;
use expect_test::{Expect, expect};
use tempfile::TempDir;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn refused(folder: &TempDir, result: Result<Loaded, LoadError>) -> String {
    let place = folder.path().display().to_string();
    format!("{}\n", result.map(|loaded| format!("{loaded:?}")).unwrap_or_else(|error| error.to_string()).replace(&place, "DIR"))
}

fn check_refused(cases: &[&[(&str, &str)]], expect: Expect) {
    let outcomes: Vec<String> =
        cases.iter().map(|files| folder(files)).map(|folder| refused(&folder, load(folder.path()))).collect();
    expect.assert_eq(&outcomes.concat());
}

const SETUP: &str = "export default function setup(syscall, state, helpers) { return helpers.makeLiveSlots(syscall, state, E => 1, helpers.vatID) }";
const TODAY: &str = "export const buildRootObject = vatPowers => Far('root', {})";

#[test]
fn a_folder_of_2019() {
    let folder = folder(&[
        ("bootstrap.js", SETUP),
        (
            "vat-user.js",
            "\u{feff}import './lib/util.js';\r\nimport harden from '@agoric/harden';\r\nx~.y();\r\nexport function buildRootObject(E, D) {}\r\n",
        ),
        ("vat-bot.js", "export * from './lib/util'; export { a } from './lib'; import('@endo/' + 'far');"),
        ("vat-baz/index.js", "import '../vat-user.js'"),
        ("vat-empty/main.js", ""),
        ("vat-no.js/x", ""),
        ("vat-old.js~", ""),
        ("vat-.js", ""),
        ("bundle-late.js", "import './lib/late'"),
        ("lib/util.js", "import './util.js'; export const a = '~.';"),
        ("lib/index.js", "export * from './util.js'"),
        ("lib/late.js", ""),
        ("README.md", ""),
        ("tool.js", "import 'fs'"),
    ]);
    let loaded = load(folder.path()).unwrap();
    let vats: Vec<(&str, &str)> = loaded.source.vats.iter().map(|vat| (vat.name.as_str(), vat.module.as_str())).collect();
    assert_eq!(
        vats,
        [("baz", "/vat-baz/index.js"), ("bot", "/vat-bot.js"), ("user", "/vat-user.js"), ("_bootstrap", "/bootstrap.js")]
    );
    assert_eq!(loaded.source.bootstrap, "_bootstrap");
    assert_eq!(loaded.source.bundles, BTreeMap::from([("late".to_owned(), "/bundle-late.js".to_owned())]));
    assert_eq!(loaded.ignored, ["README.md", "lib", "tool.js", "vat-.js", "vat-empty", "vat-no.js"]);
    let modules: Vec<&str> = loaded.source.modules.keys().map(String::as_str).collect();
    assert_eq!(
        modules,
        [
            "/bootstrap.js",
            "/bundle-late.js",
            "/lib/index.js",
            "/lib/late.js",
            "/lib/util.js",
            "/vat-baz/index.js",
            "/vat-bot.js",
            "/vat-user.js"
        ]
    );
    assert!(loaded.source.modules["/vat-user.js"].starts_with("import './lib/util.js';\r\n"));
    assert_eq!(loaded.source.module("/lib").unwrap().0, "/lib/index.js");
    assert_eq!(loaded.source.module("/lib/util").unwrap().0, "/lib/util.js");
    let dialects: Vec<Dialect> = loaded.dialects.values().copied().collect();
    assert_eq!(dialects, [Dialect::Setup, Dialect::Today, Dialect::Unknown, Dialect::Early]);
    assert_eq!(load(folder.path()).unwrap(), loaded);
    let json = serde_json::to_string(&loaded.source).unwrap();
    assert_eq!(serde_json::from_str::<Source>(&json).unwrap(), loaded.source);
}

#[test]
fn a_folder_of_today() {
    let folder = folder(&[("bootstrap.js", TODAY), ("vat-bob.js", TODAY)]);
    expect![[r#"
        {
          "vats": [
            {
              "name": "bob",
              "module": "/vat-bob.js"
            },
            {
              "name": "bootstrap",
              "module": "/bootstrap.js"
            }
          ],
          "bootstrap": "bootstrap",
          "modules": {
            "/bootstrap.js": "export const buildRootObject = vatPowers => Far('root', {})",
            "/vat-bob.js": "export const buildRootObject = vatPowers => Far('root', {})"
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&load(folder.path()).unwrap().source).unwrap());
}

#[test]
fn what_cannot_be_loaded() {
    check_refused(
        &[
            &[("vat-bob.js", "")],
            &[("bootstrap.js", ""), ("vat-a.js", ""), ("vat-a/index.js", "")],
            &[("bootstrap.js", TODAY), ("vat-bootstrap.js", "")],
            &[("bootstrap.js", "import './a.js'"), ("a.js", "\n\nimport x, {\n  y,\n} from './b.js';")],
            &[("bootstrap.js", "import '../a.js'")],
            &[("bootstrap.js", "import './lib/a.js'"), ("lib/a.js", "export * from '../../a.js'")],
            &[("bootstrap.js", "import 'fs'")],
            &[("bootstrap.js", "import '/bootstrap.js'")],
            &[("bootstrap.js", "import '@endo/far/deep.js'")],
            &[("bootstrap.js", "import 'https://example.com/a.js'")],
            &[("bootstrap.js", "let a;\nf(() => import('./a.js'))")],
            &[("bootstrap.js", "import a from './a.json' with { type: 'json' }"), ("a.json", "{}")],
            &[("bootstrap.js", "import './a.json'"), ("a.json", "{ \"a\": 1 }")],
            &[("bootstrap.js", "import './lib'"), ("lib/main.js", "")],
            &[("bootstrap.js", "import './a.js'"), ("a.js", "let a = 1;\r\n\r\n  x~.y(a;\r\n")],
            &[("bootstrap.js", "let ü = 'ß' + x~.#y;")],
            &[("bootstrap.js", "with (a) b = '")],
        ],
        expect![[r#"
            DIR has no bootstrap.js: its bootstrap(argv, vats) is what gets vats going
            vat-a/index.js and vat-a.js are both named 'a'
            vat-bootstrap.js and bootstrap.js are both named 'bootstrap'
            a.js:5: cannot import './b.js': there is no b.js
            bootstrap.js:1: cannot import '../a.js': it leads out of the folder
            lib/a.js:1: cannot import '../../a.js': it leads out of the folder
            bootstrap.js:1: cannot import 'fs': no package of this name is known to vats, and a file's name begins with ./ or ../
            bootstrap.js:1: cannot import '/bootstrap.js': no package of this name is known to vats, and a file's name begins with ./ or ../
            bootstrap.js:1: cannot import '@endo/far/deep.js': no package of this name is known to vats, and a file's name begins with ./ or ../
            bootstrap.js:1: cannot import 'https://example.com/a.js': no package of this name is known to vats, and a file's name begins with ./ or ../
            bootstrap.js:2: cannot import './a.js': import() is not available in vats: use an import declaration
            bootstrap.js:1: cannot import './a.json': only modules can be imported, without attributes or phases
            a.json:1:6: Expected a semicolon or an implicit semicolon after a statement, but found none
              { "a": 1 }
            bootstrap.js:1: cannot import './lib': there is no lib
            a.js:3:9: Expected `,` or `)` but found `;`
              x~.y(a;
            bootstrap.js:1:16: A private name cannot be sent to
              let ü = 'ß' + x~.#y;
            bootstrap.js:1:14: Unterminated string
              with (a) b = '
        "#]],
    );
}

#[test]
fn bytes_that_are_no_text() {
    let folder = folder(&[("bootstrap.js", "import './a.js'")]);
    fs::write(folder.path().join("a.js"), b"let a = '\xff'").unwrap();
    expect![[r#"
        a.js is not UTF-8
    "#]]
    .assert_eq(&refused(&folder, load(folder.path())));
    fs::write(folder.path().join("a.js"), vec![b'\n'; SOURCE_BYTES as usize]).unwrap();
    expect![[r#"
        a.js: the vats' sources have more than 64 MiB in all, or 10000 files
    "#]]
    .assert_eq(&refused(&folder, load(folder.path())));
    expect![[r#"
        DIR/nowhere: No such file or directory (os error 2)
    "#]]
    .assert_eq(&refused(&folder, load(&folder.path().join("nowhere"))));
}

#[test]
#[cfg(unix)]
fn links() {
    use std::os::unix::fs::symlink;
    let outside = folder(&[("secret.js", "")]);
    let folder = folder(&[("bootstrap.js", "import './in/a.js'"), ("lib/a.js", "import './b.js'"), ("lib/b.js", "")]);
    symlink("lib", folder.path().join("in")).unwrap();
    symlink("lib/b.js", folder.path().join("vat-b.js")).unwrap();
    let loaded = load(folder.path()).unwrap();
    let modules: Vec<&str> = loaded.source.modules.keys().map(String::as_str).collect();
    assert_eq!(modules, ["/bootstrap.js", "/in/a.js", "/in/b.js", "/vat-b.js"]);
    // A folder that is reached by a link is one all the same.
    let link = outside.path().join("link");
    symlink(folder.path(), &link).unwrap();
    assert_eq!(load(&link).unwrap().source, loaded.source);

    symlink(outside.path(), folder.path().join("out")).unwrap();
    fs::write(folder.path().join("lib/b.js"), "import '../out/secret.js'").unwrap();
    expect![[r#"
        in/b.js:1: cannot import '../out/secret.js': out/secret.js leads out of the folder
    "#]]
    .assert_eq(&refused(&folder, load(folder.path())));
    symlink(outside.path().join("secret.js"), folder.path().join("vat-c.js")).unwrap();
    fs::write(folder.path().join("lib/b.js"), "").unwrap();
    expect![[r#"
        vat-c.js leads out of the folder
    "#]]
    .assert_eq(&refused(&folder, load(folder.path())));
    // One that leads to itself.
    fs::remove_file(folder.path().join("vat-c.js")).unwrap();
    symlink(".", folder.path().join("loop")).unwrap();
    fs::write(folder.path().join("bootstrap.js"), "import './loop/bootstrap.js'").unwrap();
    assert!(refused(&folder, load(folder.path())).contains("cannot import './loop/bootstrap.js': there is no loop/loop/"));
}

#[test]
fn a_configuration() {
    let folder = folder(&[
        (
            "config.json",
            r#"{ "bootstrap": "boot", "defaultReapInterval": 5, "bundles": { "late": { "sourceSpec": "./late.js" } }, "vats": {
                "zoe": { "bundleName": "late" },
                "boot": { "sourceSpec": "./src/boot.js", "parameters": { "b": [1], "a": null }, "creationOptions": { "critical": true } },
                "bob": { "sourceSpec": "./src/../src/./bob.js" } } }"#,
        ),
        ("late.js", TODAY),
        ("src/boot.js", "import '../lib.js'"),
        ("src/bob.js", SETUP),
        ("lib.js", ""),
    ]);
    let loaded = load_config(&folder.path().join("config.json")).unwrap();
    assert_eq!(loaded.ignored, ["defaultReapInterval"]);
    expect![[r#"
        {
          "vats": [
            {
              "name": "bob",
              "module": "/src/bob.js"
            },
            {
              "name": "zoe",
              "module": "/late.js"
            },
            {
              "name": "boot",
              "module": "/src/boot.js",
              "parameters": {
                "a": null,
                "b": [
                  1
                ]
              },
              "options": {
                "critical": true
              }
            }
          ],
          "bootstrap": "boot",
          "modules": {
            "/late.js": "export const buildRootObject = vatPowers => Far('root', {})",
            "/lib.js": "",
            "/src/bob.js": "export default function setup(syscall, state, helpers) { return helpers.makeLiveSlots(syscall, state, E => 1, helpers.vatID) }",
            "/src/boot.js": "import '../lib.js'"
          },
          "bundles": {
            "late": "/late.js"
          }
        }"#]].assert_eq(&serde_json::to_string_pretty(&loaded.source).unwrap());
}

#[test]
fn configurations_that_are_wrong() {
    let outcomes: Vec<String> = [
        "{",
        r#"{ "vats": {} }"#,
        r#"{ "bootstrap": "a", "vats": {} }"#,
        r#"{ "bootstrap": "a", "vat": {}, "vats": {} }"#,
        r#"{ "bootstrap": "a", "vats": { "a": {} } }"#,
        r#"{ "bootstrap": "a", "vats": { "a": { "sourceSpec": "a.js" } } }"#,
        r#"{ "bootstrap": "a", "vats": { "a": { "sourceSpec": "../a.js" } } }"#,
        r#"{ "bootstrap": "a", "vats": { "a": { "sourceSpec": "./a.js" } } }"#,
        r#"{ "bootstrap": "a", "vats": { "a": { "bundleName": "b" } } }"#,
        r#"{ "bootstrap": "a", "vats": { "a": { "sourceSpec": "./a.js", "nodeOptions": [] } } }"#,
    ]
    .iter()
    .map(|config| folder(&[("c.json", config)]))
    .map(|folder| refused(&folder, load_config(&folder.path().join("c.json"))))
    .collect();
    expect![[r#"
        DIR/c.json: EOF while parsing an object at line 1 column 1
        DIR/c.json: 'bootstrap' must name a vat
        DIR/c.json: 'bootstrap' names no vat: 'a'
        DIR/c.json: unknown field 'vat'
        DIR/c.json: vat 'a' needs a sourceSpec or a bundleName
        DIR/c.json: vat 'a': the sourceSpec 'a.js' must be relative: ./a.js
        DIR/c.json: vat 'a': the sourceSpec '../a.js' leads out of the configuration's folder
        a.js: No such file or directory (os error 2)
        DIR/c.json: vat 'a': there is no bundle 'b'
        DIR/c.json: unknown field `nodeOptions`, expected one of `sourceSpec`, `bundleName`, `parameters`, `creationOptions` at line 1 column 74
    "#]].assert_eq(&outcomes.concat());
}
