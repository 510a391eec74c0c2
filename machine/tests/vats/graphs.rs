//! Random programs of messages, against a model of what eventual sends mean.
//!
//! A program is a tree: a message brings commands, some of which send messages with commands of their own. What a name stands for is
//! lexical, so that the model can say, whatever the order of deliveries was: which messages run, at which object; what each promise
//! comes to; which references are the same object.

use super::stage::{Stage, with_stack};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

type Name = usize;

#[derive(Debug, Clone)]
enum Val {
    Data(i64),
    Ref(Name),
    Error(String),
    Nothing,
}

#[derive(Debug, Clone)]
struct Payload {
    id: usize,
    names: Vec<Name>,
    cmds: Vec<Cmd>,
    ret: Val,
}

#[derive(Debug, Clone)]
enum Cmd {
    New(Name),
    Kit { promise: Name, resolver: Name },
    Send { target: Name, payload: Payload, args: Vec<Name>, result: Option<Name> },
    Settle { id: usize, resolver: Name, val: Val },
    Here { promise: Name, val: Val },
    When { id: usize, promise: Name, bind: Name, cmds: Vec<Cmd> },
    Drop(Name),
}

/// What a name is.
#[derive(Debug, Clone, Copy)]
enum Def {
    Object,
    Resolver(Name),
    Promise,
    Alias(Name),
}

fn n(name: Name) -> String {
    format!("n{name}")
}

impl Val {
    fn json(&self) -> [Value; 2] {
        match self {
            Val::Data(x) => [json!("data"), json!(x)],
            Val::Ref(name) => [json!("ref"), json!(n(*name))],
            Val::Error(text) => [json!("throw"), json!(text)],
            Val::Nothing => [json!("none"), json!(0)],
        }
    }

    fn settle(&self) -> [Value; 2] {
        let [kind, x] = self.json();
        [if kind == "throw" { json!("reject") } else { kind }, x]
    }
}

impl Payload {
    fn json(&self) -> Value {
        let names: Vec<String> = self.names.iter().copied().map(n).collect();
        json!({ "id": self.id, "names": names, "cmds": self.cmds.iter().map(Cmd::json).collect::<Vec<_>>(), "ret": self.ret.json() })
    }
}

impl Cmd {
    fn json(&self) -> Value {
        match self {
            Cmd::New(name) => json!(["new", n(*name)]),
            Cmd::Kit { promise, resolver } => json!(["kit", n(*promise), n(*resolver)]),
            Cmd::Send { target, payload, args, result } => {
                let args: Vec<String> = args.iter().copied().map(n).collect();
                match result {
                    Some(result) => json!(["send", payload.id, n(*target), payload.json(), args, n(*result)]),
                    None => json!(["only", payload.id, n(*target), payload.json(), args]),
                }
            }
            Cmd::Settle { id, resolver, val } => {
                let [kind, x] = val.settle();
                json!(["settle", id, n(*resolver), kind, x])
            }
            Cmd::Here { promise, val } => {
                let [kind, x] = val.settle();
                json!(["here", n(*promise), kind, x])
            }
            Cmd::When { id, promise, bind, cmds } => {
                json!(["when", id, n(*promise), n(*bind), cmds.iter().map(Cmd::json).collect::<Vec<_>>()])
            }
            Cmd::Drop(name) => json!(["drop", n(*name)]),
        }
    }
}

/// Makes programs of numbers: fewer and smaller ones make simpler programs.
struct Generator<'a> {
    choices: std::slice::Iter<'a, u16>,
    defs: Vec<Def>,
    /// What a promise depends on.
    edges: BTreeMap<Name, Vec<Name>>,
    ids: usize,
    sends: usize,
}

#[derive(Clone, Default)]
struct Scope {
    refs: Vec<Name>,
    resolvers: Vec<Name>,
    kits: Vec<Name>,
}

impl Generator<'_> {
    fn choose(&mut self, below: usize) -> usize {
        self.choices.next().map_or(0, |&choice| choice as usize % below)
    }

    fn pick(&mut self, from: &[Name]) -> Name {
        let at = self.choose(from.len());
        from[from.len() - 1 - at]
    }

    fn name(&mut self, def: Def) -> Name {
        self.defs.push(def);
        self.defs.len() - 1
    }

    fn id(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    fn reaches(&self, from: Name, to: Name) -> bool {
        let (mut todo, mut seen) = (vec![from], BTreeSet::new());
        while let Some(name) = todo.pop() {
            if name == to {
                return true;
            }
            if !seen.insert(name) {
                continue;
            }
            if let Def::Alias(of) = self.defs[name] {
                todo.push(of);
            }
            todo.extend(self.edges.get(&name).into_iter().flatten());
        }
        false
    }

    fn origin(&self, name: Name) -> Name {
        match self.defs[name] {
            Def::Alias(of) => self.origin(of),
            _ => name,
        }
    }

    /// What `promise` comes to. It must not depend on itself.
    fn val(&mut self, scope: &Scope, promise: Option<Name>) -> Val {
        match self.choose(8) {
            0 | 1 => Val::Data(self.choose(100) as i64),
            2 => Val::Error(format!("e{}", self.id())),
            3 if promise.is_none() => Val::Nothing,
            _ => {
                let name = self.pick(&scope.refs);
                if let Some(promise) = promise {
                    if self.reaches(name, promise) {
                        return Val::Data(1000);
                    }
                    self.edges.entry(promise).or_default().push(name);
                }
                Val::Ref(name)
            }
        }
    }

    fn send(&mut self, scope: &mut Scope, depth: usize) -> Cmd {
        self.sends += 1;
        let id = self.id();
        let target = self.pick(&scope.refs);
        let only = self.choose(8) == 7;
        let mut args = Vec::new();
        let mut inner = Scope::default();
        let mut names = Vec::new();
        for _ in 0..=self.choose(3) {
            let arg = self.pick(&scope.refs);
            args.push(arg);
            let name = self.name(Def::Alias(arg));
            names.push(name);
            inner.refs.push(name);
        }
        if !scope.resolvers.is_empty() && self.choose(3) > 0 {
            let at = self.choose(scope.resolvers.len());
            let resolver = scope.resolvers.remove(at);
            args.push(resolver);
            let name = self.name(Def::Alias(resolver));
            names.push(name);
            inner.resolvers.push(name);
        }
        let result = self.name(Def::Promise);
        self.edges.entry(result).or_default().push(target);
        let cmds = if depth > 0 { self.cmds(&mut inner, depth - 1, true) } else { self.rest(&mut inner) };
        let ret = self.val(&inner, Some(result));
        let ret = if self.choose(6) == 5 { Val::Nothing } else { ret };
        let payload = Payload { id, names, cmds, ret };
        if !only {
            scope.refs.push(result);
        }
        Cmd::Send { target, payload, args, result: (!only).then_some(result) }
    }

    fn cmds(&mut self, scope: &mut Scope, depth: usize, ends: bool) -> Vec<Cmd> {
        let mut cmds = Vec::new();
        for _ in 0..self.choose(7) {
            match self.choose(10) {
                1..=4 if self.sends < 60 => {
                    let cmd = self.send(scope, depth);
                    cmds.push(cmd);
                }
                5 | 6 => {
                    let promise = self.name(Def::Promise);
                    let resolver = self.name(Def::Resolver(promise));
                    cmds.push(Cmd::Kit { promise, resolver });
                    if self.choose(3) == 0 {
                        scope.kits.push(promise)
                    } else {
                        scope.resolvers.push(resolver)
                    }
                    scope.refs.push(promise);
                }
                7 if depth > 0 && !scope.refs.is_empty() => {
                    let (id, promise) = (self.id(), self.pick(&scope.refs));
                    let bind = self.name(Def::Alias(promise));
                    let mut inner = Scope { refs: scope.refs.clone(), ..Scope::default() };
                    inner.refs.push(bind);
                    if self.choose(2) == 1 {
                        inner.resolvers.append(&mut scope.resolvers);
                    }
                    if self.choose(2) == 1 {
                        inner.kits.append(&mut scope.kits);
                    }
                    // Whatever is settled there waits for that promise.
                    for &promised in inner.kits.iter().chain(&inner.resolvers).collect::<Vec<_>>() {
                        let promised = match self.defs[self.origin(promised)] {
                            Def::Resolver(promise) => promise,
                            _ => promised,
                        };
                        self.edges.entry(promised).or_default().push(promise);
                    }
                    let inner_cmds = self.cmds(&mut inner, depth - 1, true);
                    cmds.push(Cmd::When { id, promise, bind, cmds: inner_cmds });
                }
                8 => cmds.extend(self.settle(scope)),
                9 if scope.refs.len() > 2 => {
                    let at = self.choose(scope.refs.len());
                    cmds.push(Cmd::Drop(scope.refs.remove(at)));
                }
                _ => {
                    let name = self.name(Def::Object);
                    cmds.push(Cmd::New(name));
                    scope.refs.push(name);
                }
            }
        }
        if ends {
            cmds.extend(self.rest(scope));
        }
        cmds
    }

    fn settle(&mut self, scope: &mut Scope) -> Option<Cmd> {
        if let Some(promise) = scope.kits.pop() {
            let val = self.val(scope, Some(promise));
            let val = if let Val::Nothing = val { Val::Data(7) } else { val };
            return Some(Cmd::Here { promise, val });
        }
        let resolver = scope.resolvers.pop()?;
        let Def::Resolver(promise) = self.defs[self.origin(resolver)] else { unreachable!() };
        let val = self.val(scope, Some(promise));
        let val = if let Val::Nothing = val { Val::Data(7) } else { val };
        Some(Cmd::Settle { id: self.id(), resolver, val })
    }

    /// Most of what is still open is settled in the end.
    fn rest(&mut self, scope: &mut Scope) -> Vec<Cmd> {
        let mut cmds = Vec::new();
        while !scope.kits.is_empty() || !scope.resolvers.is_empty() {
            if scope.refs.is_empty() || self.choose(12) == 11 {
                break;
            }
            cmds.extend(self.settle(scope));
        }
        cmds
    }
}

struct Program {
    defs: Vec<Def>,
    root: Payload,
    vats: usize,
}

fn program(choices: &[u16]) -> Program {
    let mut generator = Generator { choices: choices.iter(), defs: Vec::new(), edges: BTreeMap::new(), ids: 0, sends: 0 };
    let vats = 1 + generator.choose(4);
    let names: Vec<Name> = (0..=vats).map(|_| generator.name(Def::Object)).collect();
    let mut scope = Scope { refs: names.clone(), ..Scope::default() };
    let mut cmds = Vec::new();
    for _ in 0..4 {
        cmds.extend(generator.cmds(&mut scope, 4, false));
    }
    cmds.extend(generator.rest(&mut scope));
    let root = Payload { id: 0, names, cmds, ret: Val::Nothing };
    Program { defs: generator.defs, root, vats }
}

/// What a name comes to.
#[derive(Debug, Clone, PartialEq)]
enum Settled {
    Object(Name),
    Data(i64),
    Nothing,
    /// The message of an error of a vat's; of one of the kernel's or the runtime's it does not matter here.
    Error(Option<String>),
}

/// What must happen.
#[derive(Default)]
struct Model<'a> {
    defs: &'a [Def],
    results: BTreeMap<Name, Settled>,
    refs: BTreeMap<Name, Name>,
    /// Message, object.
    runs: BTreeMap<usize, Name>,
    settles: BTreeMap<usize, Name>,
    whens: BTreeMap<usize, Settled>,
    /// Promises that came to be.
    promises: BTreeSet<Name>,
    open: Vec<&'a Cmd>,
}

impl<'a> Model<'a> {
    fn eval(&self, name: Name) -> Option<Settled> {
        match self.defs[name] {
            Def::Alias(of) => self.eval(of),
            Def::Object | Def::Resolver(_) => Some(Settled::Object(name)),
            Def::Promise => match self.refs.get(&name) {
                Some(&next) => self.eval(next),
                None => self.results.get(&name).cloned(),
            },
        }
    }

    fn settle(&mut self, promise: Name, val: &Val) {
        match val {
            Val::Ref(name) => drop(self.refs.insert(promise, *name)),
            Val::Data(x) => drop(self.results.insert(promise, Settled::Data(*x))),
            Val::Error(text) => drop(self.results.insert(promise, Settled::Error(Some(text.clone())))),
            Val::Nothing => drop(self.results.insert(promise, Settled::Nothing)),
        }
    }

    fn begin(&mut self, cmds: &'a [Cmd]) {
        for cmd in cmds {
            match cmd {
                Cmd::New(_) | Cmd::Drop(_) => {}
                Cmd::Kit { promise, .. } => drop(self.promises.insert(*promise)),
                Cmd::Here { promise, val } => self.settle(*promise, val),
                Cmd::Send { result, .. } => {
                    self.promises.extend(*result);
                    self.open.push(cmd);
                }
                _ => self.open.push(cmd),
            }
        }
    }

    fn run(&mut self, root: &'a Payload) {
        self.begin(&root.cmds);
        loop {
            let open = std::mem::take(&mut self.open);
            let mut still = Vec::new();
            let mut progress = false;
            for cmd in open {
                if self.goes_on(cmd) {
                    progress = true;
                } else {
                    still.push(cmd);
                }
            }
            self.open.extend(still);
            if !progress {
                return;
            }
        }
    }

    fn goes_on(&mut self, cmd: &'a Cmd) -> bool {
        match cmd {
            Cmd::Send { target, payload, result, .. } => {
                let Some(to) = self.eval(*target) else { return false };
                let refused = match to {
                    Settled::Object(object) if matches!(self.defs[object], Def::Object) => {
                        self.runs.insert(payload.id, object);
                        self.begin(&payload.cmds);
                        if let Some(result) = result {
                            self.settle(*result, &payload.ret);
                        }
                        return true;
                    }
                    Settled::Error(text) => text,
                    _ => None,
                };
                if let Some(result) = result {
                    self.results.insert(*result, Settled::Error(refused));
                }
            }
            Cmd::Settle { id, resolver, val } => {
                let Some(Settled::Object(object)) = self.eval(*resolver) else { return false };
                let Def::Resolver(promise) = self.defs[object] else { unreachable!() };
                self.settles.insert(*id, object);
                self.settle(promise, val);
            }
            Cmd::When { id, promise, cmds, .. } => {
                let Some(value) = self.eval(*promise) else { return false };
                self.whens.insert(*id, value);
                self.begin(cmds);
            }
            _ => unreachable!(),
        }
        true
    }
}

const INTERP: &str = include_str!("interp.js");
const LETTERS: [&str; 4] = ["a", "b", "c", "d"];

fn stage(program: &Program, dialects: usize, hold: bool) -> Stage {
    let source = |index: usize, boots: bool| {
        let name = if boots { "boot" } else { LETTERS[index] };
        let is_old = dialects >> index & 1 == 0;
        let bootstrap = if boots {
            "const start = (argv, vats) => { const program = JSON.parse(argv[0]);
               E(root).run(program, ...Object.keys(vats).filter((name) => name.length === 1).map((name) => vats[name]), root); };"
        } else {
            ""
        };
        let methods =
            |args: &str, argv: &str| if boots { format!("bootstrap({args}) {{ start({argv}, vats); }},") } else { String::new() };
        if is_old {
            format!(
                "import {{ makeInterp }} from './interp.js';
                 export default (syscall, state, helpers) => helpers.makeLiveSlots(syscall, state, (E) => {{
                   let first;
                   const make = makeInterp(E, (name, methods) => {{
                     if (name !== '{root}') return harden(methods);
                     return harden({{ ...methods, {} }});
                   }}, '{name}', {hold});
                   {bootstrap}
                   const root = make('{root}');
                   return root;
                 }}, helpers.vatID);",
                methods("argv, vats", "argv"),
                root = n(index),
            )
        } else {
            format!(
                "import {{ E }} from '@endo/far'; import {{ Far }} from '@endo/pass-style'; import {{ makeInterp }} from './interp.js';
                 export const buildRootObject = (vatPowers, {{ argv }}) => {{
                   const make = makeInterp(E, (name, methods) => Far(name, name === '{root}' ? {{ ...methods, {} }} : methods), '{name}', {hold});
                   {bootstrap}
                   const root = make('{root}');
                   return root;
                 }};",
                methods("vats", "argv"),
                root = n(index),
            )
        }
    };
    let mut files = vec![("interp.js".to_owned(), INTERP.to_owned())];
    for (index, letter) in LETTERS.iter().enumerate().take(program.vats) {
        files.push((format!("vat-{letter}.js"), source(index, false)));
    }
    files.push(("bootstrap.js".to_owned(), source(program.vats, true)));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect();
    let argv = program.root.json().to_string();
    Stage::new(&files, &[&argv])
}

/// What vats have printed of values.
#[derive(Default)]
struct Seen<'l> {
    /// Whether vats hold what they number, so that it keeps its number.
    hold: bool,
    objects: BTreeMap<(&'l str, &'l str), Name>,
    numbers: BTreeMap<(&'l str, Name), &'l str>,
}

impl<'l> Seen<'l> {
    /// Whether this is the value. An object that a vat knows under a number is always the same one.
    fn agrees(&mut self, vat: &'l str, shown: &'l str, value: &Settled) -> Result<(), &'static str> {
        let (kind, rest) = shown.split_at(1);
        match (kind, value) {
            ("o", Settled::Object(object)) => {
                if self.objects.insert((vat, shown), *object).is_some_and(|known| known != *object) {
                    return Err("two objects are one");
                }
                if self.hold && self.numbers.insert((vat, *object), shown).is_some_and(|known| known != shown) {
                    return Err("one object is two");
                }
                Ok(())
            }
            ("d", Settled::Data(x)) if rest.parse() == Ok(*x) => Ok(()),
            ("u", Settled::Nothing) | ("e", Settled::Error(None)) => Ok(()),
            ("e", Settled::Error(Some(text))) if text == rest => Ok(()),
            _ => Err("another value"),
        }
    }
}

fn check(choices: &[u16], dialects: usize, hold: bool) {
    let program = program(choices);
    let mut model = Model { defs: &program.defs, ..Model::default() };
    model.run(&program.root);
    let mut stage = stage(&program, dialects, hold);
    stage.run_audited();
    let lines = stage.console();
    let context = || format!("{}\n{}", program.root.json(), lines.join("\n"));
    let mut runs: Vec<(usize, Name, &str)> = Vec::new();
    let mut settles = BTreeMap::new();
    let mut whens = BTreeMap::new();
    let mut sends: Vec<(&str, &str, usize)> = Vec::new();
    let mut seen = Seen { hold, ..Seen::default() };
    let name_of = |text: &str| text[1..].parse::<Name>().unwrap();
    for line in &lines {
        if line.starts_with("Unhandled rejection") {
            continue;
        }
        let words: Vec<&str> = line.split('|').collect();
        match words[..] {
            [vat, "run", id, object] => runs.push((id.parse().unwrap(), name_of(object), vat)),
            [_, "settle", id, object] => {
                assert!(settles.insert(id.parse().unwrap(), name_of(object)).is_none(), "{line}: twice\n{}", context());
            }
            [vat, "bind", name, shown] => {
                let value = model.eval(name_of(name)).unwrap_or_else(|| panic!("{line}: not settled\n{}", context()));
                seen.agrees(vat, shown, &value).unwrap_or_else(|why| panic!("{line}: {why}: {value:?}\n{}", context()));
            }
            [vat, "when", id, how, shown] => {
                let id: usize = id.parse().unwrap();
                let value = model.whens.get(&id).unwrap_or_else(|| panic!("{line}: never\n{}", context()));
                assert_eq!(how == "r", matches!(value, Settled::Error(_)), "{line}: {value:?}\n{}", context());
                seen.agrees(vat, shown, value).unwrap_or_else(|why| panic!("{line}: {why}: {value:?}\n{}", context()));
                assert!(whens.insert(id, ()).is_none(), "{line}: twice\n{}", context());
            }
            [vat, "send", id, target] => sends.push((vat, target, id.parse().unwrap())),
            _ => panic!("{line}\n{}", context()),
        }
    }
    let mut ran: BTreeMap<usize, (usize, Name, &str)> = BTreeMap::new();
    for (at, (id, object, vat)) in runs.iter().enumerate() {
        assert!(ran.insert(*id, (at, *object, vat)).is_none(), "{id} ran twice\n{}", context());
    }
    ran.remove(&0);
    let objects: BTreeMap<usize, Name> = ran.iter().map(|(id, (_, object, _))| (*id, *object)).collect();
    assert_eq!(objects, model.runs, "which messages run, and where\n{}", context());
    assert_eq!(settles, model.settles, "{}", context());
    assert_eq!(whens.keys().collect::<Vec<_>>(), model.whens.keys().collect::<Vec<_>>(), "{}", context());

    // From one vat through one reference messages come in the order in which they were sent. But for a promise that comes to be one of
    // the vat's own objects: when it hears of that, it sends no longer through the kernel, and what is still there comes later.
    let mut last: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for (vat, target, id) in sends {
        let Some((at, _, home)) = ran.get(&id) else { continue };
        if target.starts_with('p') && *home == vat {
            continue;
        }
        if let Some((before, earlier)) = last.insert((vat, target), (*at, id)) {
            assert!(before < *at, "from {vat} to its {target}: {earlier} was sent before {id}\n{}", context());
        }
    }

    // What is left are promises that the program never resolves, and what they hold.
    let settled = model.promises.iter().all(|promise| model.eval(*promise).is_some()) && model.open.is_empty();
    let dump = stage.dump();
    for promise in &dump.promises {
        assert_eq!(promise.state, "unresolved", "{promise:?}\n{}", context());
        assert!(!settled, "{promise:?}\n{}", context());
    }
    if !hold {
        for _ in 0..6 {
            stage.machine.as_vats_mut().unwrap().reap();
            stage.run_audited();
        }
        let dump = stage.dump();
        if settled {
            let left: Vec<_> = dump.objects.iter().filter(|(name, ..)| name.as_str() >= "ko20").collect();
            assert_eq!(left.len(), program.vats + 1, "{left:?} {:?}\n{}", dump.kernel_table, context());
        }
    }
}

#[test]
fn programs_mean_what_the_model_says() {
    let cases = std::env::var("GLASSBOX_GRAPHS").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let seed = std::env::var("GLASSBOX_GRAPHS_SEED").ok().and_then(|seed| seed.parse::<u8>().ok()).unwrap_or(7);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 3_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let strategy = (prop::collection::vec(any::<u16>(), 0..400), 0usize..32, any::<bool>());
    let result = with_stack(|| {
        runner
            .run(&strategy, |(choices, dialects, hold)| {
                check(&choices, dialects, hold);
                Ok(())
            })
            .map_err(|error| error.to_string())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
