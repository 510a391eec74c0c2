use super::syntax;
use super::{Kind, Rewrite, SyntaxError, nesting, rewrite};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::borrow::Cow;

fn script(source: &str) -> String {
    match rewrite(source, Kind::Script) {
        Ok(rewritten) => rewritten.into_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_form_of_the_reference() {
    for (source, expected) in [
        ("x~.m(a,b)", r#"HandledPromise.applyMethod(x,"m",[a,b])"#),
        ("x~.[k](a)", r#"HandledPromise.applyMethod(x,k,[a])"#),
        ("x~.(a)", r#"HandledPromise.applyFunction(x,[a])"#),
        ("x~.p", r#"HandledPromise.get(x,"p")"#),
        ("x~.[k]", r#"HandledPromise.get(x,k)"#),
        ("x~.p = v", r#"HandledPromise.set(x,"p",v)"#),
        ("delete x~.p", r#"HandledPromise.delete(x,"p")"#),
        ("[10,20]~.[1]", "HandledPromise.get([10,20],1)"),
        ("'abc'~.[2]", "HandledPromise.get('abc',2)"),
        (r#""abc"~.[2]"#, r#"HandledPromise.get("abc",2)"#),
        ("f~.(41)", "HandledPromise.applyFunction(f,[41])"),
        ("t1~.n", r#"HandledPromise.get(t1,"n")"#),
        ("presence~.(1)", "HandledPromise.applyFunction(presence,[1])"),
        ("nameObj~.name.then(f)", r#"HandledPromise.get(nameObj,"name").then(f)"#),
        ("vats.bob~.bar('hello bob');", r#"HandledPromise.applyMethod(vats.bob,"bar",['hello bob']);"#),
        ("t1~.foo()", r#"HandledPromise.applyMethod(t1,"foo",[])"#),
        (
            "vats.user\n  ~.talkToBot(vats.bot, 'b')\n  .then(r => log(r))",
            "HandledPromise.applyMethod(vats.user,\"talkToBot\",[\nvats.bot, 'b'])\n  .then(r => log(r))",
        ),
        (
            "databaseServer~.openDB()~.select(criteria)~.modify(newValue)\n.then(res => 1)",
            "HandledPromise.applyMethod(HandledPromise.applyMethod(HandledPromise.applyMethod(databaseServer,\"openDB\",[]),\"select\",[criteria])\
             ,\"modify\",[newValue])\n.then(res => 1)",
        ),
        ("const row = db~.select(criteria)", r#"const row = HandledPromise.applyMethod(db,"select",[criteria])"#),
    ] {
        assert_eq!(script(source), expected, "{source}");
    }
}

#[test]
fn more_forms() {
    for (source, expected) in [
        // Chains.
        ("a.b~.c.d~.e", r#"HandledPromise.get(HandledPromise.get(a.b,"c").d,"e")"#),
        ("a()~.b[0]~.(1)(2)", r#"HandledPromise.applyFunction(HandledPromise.get(a(),"b")[0],[1])(2)"#),
        ("x~.m~.(a)", r#"HandledPromise.applyFunction(HandledPromise.get(x,"m"),[a])"#),
        ("(x~.m)(a)", r#"(HandledPromise.get(x,"m"))(a)"#),
        ("x~.()~.()", "HandledPromise.applyFunction(HandledPromise.applyFunction(x,[]),[])"),
        ("a?.b~.c().d", r#"HandledPromise.applyMethod(a?.b,"c",[]).d"#),
        ("a~.b?.c", r#"HandledPromise.get(a,"b")?.c"#),
        ("a~.b?.[c]~.d", r#"HandledPromise.get(HandledPromise.get(a,"b")?.[c],"d")"#),
        // Arguments.
        ("x~.m(...args, y~.n(),)", r#"HandledPromise.applyMethod(x,"m",[...args, HandledPromise.applyMethod(y,"n",[]),])"#),
        ("x~.m((a, b))", r#"HandledPromise.applyMethod(x,"m",[(a, b)])"#),
        ("x~.[a, b]", "HandledPromise.get(x,(a, b))"),
        ("x~.[a, b](c)", "HandledPromise.applyMethod(x,(a, b),[c])"),
        ("x~.[y~.z]~.[`k`]", r#"HandledPromise.get(HandledPromise.get(x,HandledPromise.get(y,"z")),`k`)"#),
        // Reserved words, other alphabets, escapes.
        ("x~.delete()", r#"HandledPromise.applyMethod(x,"delete",[])"#),
        ("x~.if.class~.new", r#"HandledPromise.get(HandledPromise.get(x,"if").class,"new")"#),
        ("x~.größe", r#"HandledPromise.get(x,"größe")"#),
        (r"x~.\u0061b", r#"HandledPromise.get(x,"ab")"#),
        // Receivers.
        ("new X()~.m()", r#"HandledPromise.applyMethod(new X(),"m",[])"#),
        ("new (x~.Foo)()", r#"new (HandledPromise.get(x,"Foo"))()"#),
        ("({})~.p", r#"HandledPromise.get(({}),"p")"#),
        ("5~.toString()", r#"HandledPromise.applyMethod(5,"toString",[])"#),
        ("this~.p", r#"HandledPromise.get(this,"p")"#),
        ("`a`~.p", r#"HandledPromise.get(`a`,"p")"#),
        ("f`a`~.p", r#"HandledPromise.get(f`a`,"p")"#),
        ("/a/g~.exec('a')", r#"HandledPromise.applyMethod(/a/g,"exec",['a'])"#),
        ("(function () {})~.()", "HandledPromise.applyFunction((function () {}),[])"),
        ("import('a')~.b", r#"HandledPromise.get(import('a'),"b")"#),
        ("(x => x~.y)~.(1)", r#"HandledPromise.applyFunction((x => HandledPromise.get(x,"y")),[1])"#),
        // Around it.
        ("async () => await x~.y()", r#"async () => await HandledPromise.applyMethod(x,"y",[])"#),
        ("typeof'a'~.b", r#"typeof HandledPromise.get('a',"b")"#),
        ("function f() { return[1]~.b }", r#"function f() { return HandledPromise.get([1],"b") }"#),
        ("-x~.y + !z~.w", r#"-HandledPromise.get(x,"y") + !HandledPromise.get(z,"w")"#),
        ("`${x~.y} ~. ${`${z~.()}`}`", r#"`${HandledPromise.get(x,"y")} ~. ${`${HandledPromise.applyFunction(z,[])}`}`"#),
        ("class A extends x~.B {}", r#"class A extends HandledPromise.get(x,"B") {}"#),
        ("({ a: x~.b, [x~.c]: 1 })", r#"({ a: HandledPromise.get(x,"b"), [HandledPromise.get(x,"c")]: 1 })"#),
        ("for (const a of x~.y) ;", r#"for (const a of HandledPromise.get(x,"y")) ;"#),
        ("({ a = x~.b } = c)", r#"({ a = HandledPromise.get(x,"b") } = c)"#),
        ("a[x~.b] = 1", r#"a[HandledPromise.get(x,"b")] = 1"#),
        ("x~.a.b = 1", r#"HandledPromise.get(x,"a").b = 1"#),
        ("x~.a.b += 1", r#"HandledPromise.get(x,"a").b += 1"#),
        // Assignment and delete.
        ("x~.p = y~.q = 5", r#"HandledPromise.set(x,"p",HandledPromise.set(y,"q",5))"#),
        ("x~.[k] = v", "HandledPromise.set(x,k,v)"),
        ("(x~.p) = v", r#"HandledPromise.set(x,"p",v)"#),
        ("a = x~.p = b => c, d", r#"a = HandledPromise.set(x,"p",b => c), d"#),
        ("delete x~.[k]", "HandledPromise.delete(x,k)"),
        ("delete (x~.p)", r#"HandledPromise.delete(x,"p")"#),
        ("delete a?.b~.p", r#"HandledPromise.delete(a?.b,"p")"#),
        ("delete x~.p.q", r#"delete HandledPromise.get(x,"p").q"#),
        ("delete x~.m()", r#"delete HandledPromise.applyMethod(x,"m",[])"#),
        ("void delete x~.y~.p", r#"void HandledPromise.delete(HandledPromise.get(x,"y"),"p")"#),
        // White space, comments and lines.
        ("x ~. p", r#"HandledPromise.get(x,"p")"#),
        ("x/*~.*/~./*~.*/m/**/(a)", r#"HandledPromise.applyMethod(x,"m",[a])"#),
        ("x ~. // c\n (a)", "HandledPromise.applyFunction(x,[\na])"),
        ("x\r\n~.m\r\n(\r\na)", "HandledPromise.applyMethod(x,\"m\",[\r\n\r\n\r\na])"),
        ("x\n~.[\nk\n]\n(a)", "HandledPromise.applyMethod(x,\n\nk,[\n\na])"),
        ("x ~.p\n=\nv", "HandledPromise.set(x,\"p\",\n\nv)"),
        ("delete\nx~.p", "HandledPromise.delete(\nx,\"p\")"),
    ] {
        assert_eq!(script(source), expected, "{source}");
    }
}

#[test]
fn what_is_no_wavy_dot_stays() {
    for source in [
        "a, ~.5, ~ .5, b+~.25",
        "'~.x' + \"~.(\" + `~.[${1}]~.` + /~.x[~.]/ // ~.y\n/* ~.z( */",
        "",
        "'use ~.strict'",
        "~5..toFixed()",
        "a = b / c; '~.' / /~.(/",
    ] {
        assert!(
            matches!(rewrite(source, Kind::Script), Ok(Cow::Borrowed(same)) if same == source) || script(source) == source,
            "{source}"
        );
    }
    // Not even parsed.
    assert_eq!(script("this is ~.5 no program ("), "this is ~.5 no program (");
    let module = "#!/usr/bin/x~.y\nimport 'a~.b'; export { a as 'c~.d' }; let a";
    assert_eq!(rewrite(module, Kind::Module).as_deref(), Ok(module));
}

fn check_errors(sources: &[&str], expect: Expect) {
    let lines: Vec<String> = sources.iter().map(|source| format!("{source:?}: {}\n", script(source))).collect();
    expect.assert_eq(&lines.concat());
}

#[test]
fn errors() {
    check_errors(
        &[
            "x~.p += 1",
            "x~.p ??= 1",
            "x~.p++",
            "--x~.[p]",
            "[x~.p] = [1]",
            "({ a: x~.p } = b)",
            "for (x~.p of y) ;",
            "for (x~.[p] in y) ;",
            "[...x~.p] = y",
            "new x~.Foo()",
            "new x~.y.Foo",
            "new x~.(a)",
            "x~.foo`t`",
            "x~.`t`",
            "class A extends B { m() { super~.x } }",
            "class A extends B { m() { super~.x(1) } }",
            "class A extends B { constructor() { super~.(1) } }",
            "class A { #p; m(x) { x~.#p } }",
            "class A { #p; m(x) { return x~.#p() } }",
            "x~.m?.(1)",
            "x~.?.m",
            "x?.~.m",
            "x~.~.m",
            "x~.",
            "x~.5",
            "~.x",
            "a\n  + (b~.(c)\n",
            "function f() { return\n~.(x) }",
            "import~.meta",
            "new~.target",
            "let ~.x = 1",
            "f(a, ~.(b))",
            "x~.y = 'öäü' + 'äö'~.",
            "x~.y; let a = ; \u{1f600}",
            "if (x~.y { }",
            "x~.y; /* open",
            "x~.y; 'open",
            "x~.y; `open ${1",
            "x~.y; /open",
            "x~.y; }",
            "@x~.y class A {}",
            "'\u{2028}';\r\n\u{2028}x~.#y",
        ],
        expect![[r#"
            "x~.p += 1": A property after `~.` can be set with `=` only (line 1, column 2): x~.p += 1
            "x~.p ??= 1": A property after `~.` can be set with `=` only (line 1, column 2): x~.p ??= 1
            "x~.p++": A property after `~.` can be set with `=` only (line 1, column 2): x~.p++
            "--x~.[p]": A property after `~.` can be set with `=` only (line 1, column 4): --x~.[p]
            "[x~.p] = [1]": A property after `~.` can be set with `=` only (line 1, column 3): [x~.p] = [1]
            "({ a: x~.p } = b)": A property after `~.` can be set with `=` only (line 1, column 8): ({ a: x~.p } = b)
            "for (x~.p of y) ;": A property after `~.` can be set with `=` only (line 1, column 7): for (x~.p of y) ;
            "for (x~.[p] in y) ;": A property after `~.` can be set with `=` only (line 1, column 7): for (x~.[p] in y) ;
            "[...x~.p] = y": A property after `~.` can be set with `=` only (line 1, column 6): [...x~.p] = y
            "new x~.Foo()": `new` cannot be sent: write parentheses around what is constructed (line 1, column 6): new x~.Foo()
            "new x~.y.Foo": `new` cannot be sent: write parentheses around what is constructed (line 1, column 6): new x~.y.Foo
            "new x~.(a)": Unexpected `~.` (line 1, column 6): new x~.(a)
            "x~.foo`t`": A template cannot be sent (line 1, column 2): x~.foo`t`
            "x~.`t`": Unexpected token (line 1, column 4): x~.`t`
            "class A extends B { m() { super~.x } }": `super` cannot be sent to: use `this` (line 1, column 32): class A extends B { m() { super~.x } }
            "class A extends B { m() { super~.x(1) } }": `super` cannot be sent to: use `this` (line 1, column 32): class A extends B { m() { super~.x(1) } }
            "class A extends B { constructor() { super~.(1) } }": `super` cannot be sent to: use `this` (line 1, column 42): lass A extends B { constructor() { super~.(1) } }
            "class A { #p; m(x) { x~.#p } }": A private name cannot be sent to (line 1, column 23): class A { #p; m(x) { x~.#p } }
            "class A { #p; m(x) { return x~.#p() } }": A private name cannot be sent to (line 1, column 30): class A { #p; m(x) { return x~.#p() } }
            "x~.m?.(1)": A call after `~.` cannot be optional (line 1, column 2): x~.m?.(1)
            "x~.?.m": Unexpected token (line 1, column 4): x~.?.m
            "x?.~.m": Identifier expected after '?.' (line 1, column 2): x?.~.m
            "x~.~.m": Unexpected token (line 1, column 4): x~.~.m
            "x~.": Unexpected token (line 1, column 4): x~.
            "x~.5": x~.5
            "~.x": Unexpected token (line 1, column 1): ~.x
            "a\n  + (b~.(c)\n": Expected `)` but found `EOF` (line 3, column 1): 
            "function f() { return\n~.(x) }": Unexpected `~.` (line 2, column 1): ~.(x) }
            "import~.meta": Unexpected import.meta expression (line 1, column 1): import~.meta
            "new~.target": Unexpected new.target expression (line 1, column 1): new~.target
            "let ~.x = 1": HandledPromise.set(let,"x",1)
            "f(a, ~.(b))": Unexpected `~.` (line 1, column 6): f(a, ~.(b))
            "x~.y = 'öäü' + 'äö'~.": Unexpected token (line 1, column 22): x~.y = 'öäü' + 'äö'~.
            "x~.y; let a = ; 😀": Unexpected token (line 1, column 15): x~.y; let a = ; 😀
            "if (x~.y { }": Expected `)` but found `{` (line 1, column 10): if (x~.y { }
            "x~.y; /* open": Unterminated comment (line 1, column 7): x~.y; /* open
            "x~.y; 'open": Unterminated string (line 1, column 7): x~.y; 'open
            "x~.y; `open ${1": Expected `}` but found `EOF` (line 1, column 16): x~.y; `open ${1
            "x~.y; /open": Unterminated regular expression (line 1, column 7): x~.y; /open
            "x~.y; }": Unexpected closing bracket (line 1, column 7): x~.y; }
            "@x~.y class A {}": Decorators are not supported (line 1, column 1): @x~.y class A {}
            "'\u{2028}';\r\n\u{2028}x~.#y": A private name cannot be sent to (line 4, column 2): x~.#y
        "#]],
    );
    let long = format!("{}x~.p += 1; {}", "a; ".repeat(100), "b; ".repeat(100));
    expect!["A property after `~.` can be set with `=` only (line 1, column 302): a; a; a; a; a; a; a; a; a; a; a; a; a; x~.p += 1; b; b; b; b; b; b; b; b; b; b;"].assert_eq(&script(&long));
}

/// Where each letter of the original stands in the rewritten text, and back.
fn positions(source: &str) -> Result<(), TestCaseError> {
    let Ok(Some(rewrite)) = Rewrite::of(source, Kind::Script) else { return Ok(()) };
    let lines = |text: &str| -> Vec<Vec<u8>> { text.split(['\n', '\u{2028}']).map(|line| line.as_bytes().to_vec()).collect() };
    let (old, new) = (lines(source), lines(&rewrite.source));
    prop_assert_eq!(old.len(), new.len());
    for (number, line) in new.iter().enumerate() {
        let mut last = 0;
        for column in 1..=line.len() + 1 {
            let original = rewrite.column(number as u32 + 1, column as u32) as usize;
            prop_assert!(original >= last && original <= old[number].len() + 1, "{}:{} is {}", number, column, original);
            last = original;
            // What is not put in, is what it was.
            let put = rewrite.edits.iter().any(|edit| {
                edit.line as usize == number + 1 && (edit.column..edit.column + edit.bytes).contains(&(column as u32))
            });
            if !put && column <= line.len() {
                prop_assert_eq!(
                    line[column - 1],
                    old[number][original - 1],
                    "{}:{} is {} in {}",
                    number,
                    column,
                    original,
                    rewrite.source
                );
            }
        }
    }
    Ok(())
}

#[test]
fn positions_go_back() {
    let source = "ä.ö\n  ~.größe(1,\n b~.c) + d~.e; f";
    let rewrite = Rewrite::of(source, Kind::Script).unwrap().unwrap();
    assert_eq!(
        rewrite.source,
        "HandledPromise.applyMethod(ä.ö,\"größe\",[\n1,\n HandledPromise.get(b,\"c\")]) + HandledPromise.get(d,\"e\"); f"
    );
    for ((line, column), original) in [
        // The call, the receiver, the argument.
        ((1, 1), 1),
        ((1, 27), 1),
        ((1, 28), 1),
        ((1, 30), 3),
        ((2, 1), 13),
        ((3, 2), 2),
        ((3, 21), 2),
        // The last letter.
        ((3, 59), 16),
        ((7, 5), 5),
    ] {
        assert_eq!(rewrite.column(line, column), original, "{line}:{column}");
    }
    positions(source).unwrap();
}

#[test]
fn the_lines_of_errors_are_those_of_the_text() {
    let at = |source: &str| rewrite(source, Kind::Module).map(drop).map_err(|SyntaxError { line, column, .. }| (line, column));
    assert_eq!(at("a~.b\r\n\r\n\t ä~.#c"), Err((3, 4)));
    assert_eq!(at("a~.b\u{2029}\rß = ;"), Err((3, 5)));
    assert_eq!(at("\u{feff}a~.#b"), Err((1, 3)));
}

#[test]
fn deep_sources_are_refused_or_parsed() {
    let deep = |source: String| match syntax::parse(&source, Kind::Script, |_, _| Ok(())) {
        Ok(()) => "parsed".to_owned(),
        Err(error) => error.message,
    };
    let n = 100_000;
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{", "}"),
        ("({a:", "})"),
        ("a(", ")"),
        ("`${", "}`"),
        ("(a=(", "))"),
        ("()=>{", "}"),
        ("class A extends class{} {[", "](){}}"),
        ("x=>", ""),
        ("!", ""),
        ("a=", ""),
        ("a**", ""),
        ("a?b:", ""),
        ("a+", ""),
        ("a.b.", ""),
        ("typeof ", ""),
        ("new ", ""),
        ("if(a)", ""),
        ("if(a);else ", ""),
        ("for(;;)", ""),
        ("l:", ""),
        ("do ", ";while(0)"),
        // What hides in what may be a regular expression, a string, a template.
        ("}/'/(", ""),
        ("a\n/'/+(", ""),
        ("x={}/'/ + '(", ""),
    ] {
        let message = deep(format!("{}a{}", open.repeat(n), close.repeat(n)));
        assert!(message != "parsed", "{open}: {message}");
        // Just below the limit: the stack must do, in whatever frames this is compiled to.
        let program = |n: usize| format!("{}a{}", open.repeat(n), close.repeat(n));
        let (mut fits, mut too_deep) = (0, n);
        while fits + 1 < too_deep {
            let n = (fits + too_deep) / 2;
            *(if nesting::check(&program(n), true).is_ok() { &mut fits } else { &mut too_deep }) = n;
        }
        deep(program(fits));
    }
    // The parser would read these again at every level.
    for open in ["(a=(", "({a=", "(a=b=>", "async(a=async("] {
        let close = open.matches(['(', '{']).map(|open| if open == "(" { ")" } else { "}" }).collect::<Vec<_>>();
        let close: String = close.into_iter().rev().collect();
        assert_eq!(
            deep(format!("{}1{}", open.repeat(1500), close.repeat(1500))),
            "Parentheses nest too deep for so long a source",
            "{open}"
        );
    }
    assert_eq!(deep(format!("'{}'", "(".repeat(n))), "parsed");
    assert_eq!(deep("a / b\n".repeat(n)), "parsed");
    assert_eq!(deep("exports.a = function () { return 1 }\n".repeat(n)), "parsed");
    assert_eq!(deep("if (a) b(); else if (c) { d }\n".repeat(n)), "parsed");
    assert_eq!(deep("if(a){}/x(y)['\"]/.test(b)&&c;".repeat(n)), "parsed");
    assert_eq!(deep(format!("[{}]", "{a:1,b:[2],c:'x'},".repeat(n))), "parsed");
}

#[test]
fn large_sources() {
    let line = "const a = b~.c(d, { e: [1, 2, 3] }).then(x => `${x}~.`); // ~.\n";
    let source = format!("{{{}}}", line.repeat((10 << 20) / line.len()));
    let rewrite = Rewrite::of(&source, Kind::Script).unwrap().unwrap();
    assert_eq!(rewrite.source.lines().count(), source.lines().count());
    // Wavy dots in bad places, each with a long way to the next bracket.
    assert!(rewrite_fails(&"~./*".repeat(1 << 20)));
}

fn rewrite_fails(source: &str) -> bool {
    rewrite(source, Kind::Script).is_err()
}

/// Expressions, with wavy dots or with dots.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a".to_owned()),
        Just("'~.x'".to_owned()),
        Just("`~.${b}~.`".to_owned()),
        Just("/~.(/".to_owned()),
        Just("(5)".to_owned()),
        Just("ö".to_owned()),
        Just("this".to_owned()),
        Just("/*~.*/c".to_owned())
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let gap = prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n"), 1 => Just("/*\n~.*/"), 1 => Just("//~.\n")];
        prop_oneof![
            (inner.clone(), gap.clone(), gap.clone()).prop_map(|(x, g, h)| format!("{x}{g}~.{h}p")),
            (inner.clone(), gap.clone(), inner.clone()).prop_map(|(x, g, y)| format!("{x}{g}~.m{g}({y})")),
            (inner.clone(), gap.clone(), inner.clone()).prop_map(|(x, g, y)| format!("{x}{g}~.{g}[{y}]")),
            (inner.clone(), gap.clone(), inner.clone()).prop_map(|(x, g, y)| format!("{x}{g}~.{g}({y}, ...{y})")),
            (inner.clone(), inner.clone()).prop_map(|(x, y)| format!("{x}.q[{y}]")),
            (inner.clone(), inner.clone()).prop_map(|(x, y)| format!("({x}\n+ {y})")),
            (inner.clone(), gap.clone(), inner.clone()).prop_map(|(x, g, y)| format!("({x}~.p{g}={g}{y})")),
            (inner.clone(), inner.clone()).prop_map(|(x, y)| format!("{x}({y}~.[0] = 1)")),
            inner.clone().prop_map(|x| format!("(delete\n{x}~.p)")),
            inner.clone().prop_map(|x| format!("`${{{x}}}`")),
            inner.prop_map(|x| format!("(function () {{ return[{x}]~.length }})")),
        ]
    })
}

/// The same with another notation that parses: what a wavy dot does to the tree is what a dot would do.
fn tokens() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "(", ")", "[", "]", "{", "}", "a", "b", "1", ";", ",", "=", "=>", "?", ":", "+", "!", "~", "/", "/", "'", "`", "${", "}",
        "\n", " ", ".", "~.", "?.", "if", "else", "for", "while", "do", "of", "in", "async", "await", "yield", "function",
        "class", "extends", "return", "new", "typeof", "let", "break", "var", "++", "//", "/*", "*/", "\\", "import", "export",
        "default", "case", "switch", "get", "static", "#", "<!--", "-->", "@",
    ]);
    prop::collection::vec((token, prop::bool::ANY), 0..60)
        .prop_map(|tokens| tokens.iter().map(|(token, space)| format!("{token}{}", if *space { " " } else { "" })).collect())
}

/// Programs that nest more than they seem to.
fn nested() -> impl Strategy<Value = (String, String)> {
    let pair = prop::sample::select(vec![
        ("(", ")"),
        ("[", "]"),
        ("({a:", "})"),
        ("x=>", ""),
        ("!", ""),
        ("x=", ""),
        ("a?b:", ""),
        ("f(", ")"),
        ("`${", "}`"),
        ("a\n/'/+(", ")"),
        ("(class extends A {static m(){}\nstatic x=", "})"),
        ("(function(){if(a)do ", ";while(0)})"),
        ("async x=>", ""),
        ("a,", ""),
        ("(class\nA{static x=", "})"),
        ("(()=>{l:if(a)b;else return ", "})"),
        ("(function*(){yield ", "})"),
        ("(async()=>{await ", "})"),
        ("(()=>{var a\n/'/.x+(1);return '", "'})"),
        ("a/", "/a"),
        ("(()=>{}/1/", ")"),
        ("(()=>{{}/'/.x;return ", "})"),
        ("[a={}/1,", "]"),
        ("(()=>{if(a){}/(/.x\nreturn ", "})"),
        ("(()=>{x={}\n/(1)/", "})"),
        ("new ", ""),
        ("a+", ""),
        ("a.b[", "]"),
        ("(()=>{switch(1){case 1:return ", "}})"),
    ]);
    (prop::collection::vec(pair, 1..4), 1..40_usize).prop_map(|(pairs, n)| {
        let open: String = pairs.iter().map(|(open, _)| *open).collect();
        let close: String = pairs.iter().rev().map(|(_, close)| *close).collect();
        (open.repeat(n), close.repeat(n))
    })
}

struct Depth {
    now: u32,
    deepest: u32,
}

impl<'a> oxc_ast_visit::Visit<'a> for Depth {
    fn enter_node(&mut self, _: oxc_ast::AstKind<'a>) {
        self.now += 1;
        self.deepest = self.deepest.max(self.now);
    }

    fn leave_node(&mut self, _: oxc_ast::AstKind<'a>) {
        self.now -= 1;
    }
}

/// How deep the tree is, and how deep the scanner says that it is.
fn depths(source: &str, kind: Kind) -> Option<(u32, u32)> {
    let tree = syntax::parse(source, kind, |program, masked| {
        let mut depth = Depth { now: 0, deepest: 0 };
        oxc_ast_visit::Visit::visit_program(&mut depth, program);
        Ok((depth.deepest, nesting::check(&masked.text, kind == Kind::Script).expect("it was parsed")))
    });
    tree.ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(512), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expressions_are_rewritten(source in expression()) {
        let rewritten = rewrite(&source, Kind::Script);
        prop_assert!(rewritten.is_ok(), "{}", rewritten.unwrap_err());
        let rewritten = rewritten.unwrap();
        // It parses, and nothing is left to do.
        let again = rewrite(&rewritten, Kind::Script);
        prop_assert_eq!(again.as_deref(), Ok(&*rewritten));
        prop_assert!(syntax::parse(&rewritten, Kind::Script, |_, _| Ok(())).is_ok(), "{}", rewritten);
        positions(&source)?;
        // A dot is where a wavy dot is: both are wrong in the same places only.
        let count = |text: &str| text.matches('\n').count();
        prop_assert_eq!(count(&source), count(&rewritten));
    }

    #[test]
    fn anything_is_answered(source in tokens()) {
        for kind in [Kind::Module, Kind::Script] {
            if let Ok(rewritten) = rewrite(&source, kind) {
                let again = rewrite(&rewritten, kind);
                prop_assert_eq!(again.as_deref(), Ok(&*rewritten));
            }
            if let Some((tree, scanned)) = depths(&source, kind) {
                prop_assert!(tree <= 8 + 8 * scanned, "{} in {:?}", tree, source);
            }
        }
    }

    #[test]
    fn no_tree_is_deeper_than_it_seems((open, close) in nested()) {
        for kind in [Kind::Module, Kind::Script] {
            if let Some((tree, scanned)) = depths(&format!("{open}a{close}"), kind) {
                prop_assert!(tree <= 8 + 8 * scanned, "{} for {} in {:?}", tree, scanned, open);
            }
        }
    }
}
