//! `exports.migrate(previous)`: what new code takes over from the code before.

#![allow(clippy::unwrap_used)]

mod book;

use book::{Book, json, with_stack};

const OLD: &str = "
let count = 0
const names = ['ann']
exports.rate = { per: 7 }
exports.increment = function () { names.push('n' + ++count); return count }
";

/// Deploys new code on the old, which has counted to 2.
fn migrated(new: &str, check: impl FnOnce(&mut Book, machine::outcome::Result) + Send) {
    with_stack(|| {
        let mut book = Book::new(OLD);
        book.call("increment", "[]").unwrap();
        book.call("increment", "[]").unwrap();
        book.sign();
        let deployed = book.deploy(new);
        check(&mut book, deployed);
        // Whatever came of it, a replay has the same heap.
        let replayed = book.as_of(book.last());
        assert_eq!(replayed.script().heap_digest(), book.machine.script().heap_digest());
        assert_eq!(replayed.script().code(), book.machine.script().code());
    });
}

#[test]
fn variables_and_exports_of_the_old_code_are_there_as_json() {
    let new = "
        let kept
        exports.migrate = function (previous) {
            kept = { count: previous.count, names: previous.names, rate: previous.rate,
                     missing: previous.nothing, method: previous.increment, odd: previous['a b'] }
        }
        exports.kept = () => [kept, Object.keys(kept).filter(key => kept[key] === undefined)]
    ";
    migrated(new, |book, deployed| {
        assert_eq!(deployed, json(r#"["migrate","kept"]"#));
        assert_eq!(
            book.call("kept", "[]"),
            json(r#"[{"count":2,"names":["ann","n1","n2"],"rate":{"per":7}},["missing","method","odd"]]"#)
        );
        let exports = book.machine.script().exports();
        assert_eq!((exports.methods.clone(), exports.migrate), (vec!["kept".to_owned()], true));
        assert!(book.call("migrate", "[]").is_err(), "it is no method");
    });
}

#[test]
fn what_it_takes_is_a_copy() {
    let new = "
        let names
        exports.migrate = function (previous) { previous.names.push('lost'); names = previous.names; names.push('new') }
        exports.names = () => names
    ";
    migrated(new, |book, deployed| {
        deployed.unwrap();
        assert_eq!(book.call("names", "[]"), json(r#"["ann","n1","n2","new"]"#));
    });
}

#[test]
fn it_may_be_asynchronous_and_write_files() {
    let new = "
        exports.migrate = async function (previous) {
            await new Promise(resolve => setTimeout(resolve, 1000))
            await System.files.writeFile('/count.json', previous.count)
        }
        exports.count = () => System.files.readFile('/count.json', 'json')
    ";
    migrated(new, |book, deployed| {
        deployed.unwrap();
        let writes = book.transaction(book.last()).public();
        assert!(writes.get(machine::maps::FILES, b"/count.json").is_some(), "the deployment's transaction has the file");
        assert_eq!(book.call("count", "[]"), json("2"));
    });
}

#[test]
fn one_that_throws_keeps_the_old_code_and_writes_nothing() {
    let new = "
        exports.migrate = async function (previous) {
            await System.files.writeFile('/half', 'x')
            throw new RangeError('no way from ' + previous.count)
        }
        exports.other = () => 1
    ";
    migrated(new, |book, deployed| {
        let failure = deployed.unwrap_err();
        assert_eq!((&*failure.name, &*failure.message), ("RangeError", "no way from 2"));
        assert!(!book.transaction(book.last()).public().maps.contains_key(machine::maps::FILES));
        assert_eq!(book.call("increment", "[]"), json("3"));
        assert!(book.call("other", "[]").is_err());
    });
}

#[test]
fn a_variable_that_cannot_be_written_as_json_throws() {
    let new = "
        exports.migrate = function (previous) { previous.circle }
        exports.other = () => 1
    ";
    with_stack(|| {
        let mut book = Book::new("let circle = {}; circle.circle = circle; exports.ok = () => 'old'");
        assert_eq!(book.deploy(new).unwrap_err().name, "TypeError");
        assert_eq!(book.call("ok", "[]"), json("\"old\""));
    });
}

#[test]
fn the_first_deployment_and_code_without_it_do_not_migrate() {
    with_stack(|| {
        let mut book = Book::new("exports.migrate = function () { throw new Error('never') }; exports.ok = () => 1");
        assert_eq!(book.call("ok", "[]"), json("1"));
        book.deploy("exports.ok = () => 2").unwrap();
        assert_eq!(book.call("ok", "[]"), json("2"));
    });
}
