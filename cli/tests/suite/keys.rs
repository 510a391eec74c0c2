//! `glassbox key`: the keys of callers, on disk as openssl reads them.

use crate::support::{glassbox, stderr, stdout};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use expect_test::{Expect, expect};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// RFC 8032, 7.1, test 1.
const PLAIN: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// Somebody's configuration folder.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().expect("a folder"))
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root().join("keys").join(name)
    }

    fn key(&self, args: &[&str]) -> Command {
        let mut command = glassbox();
        command.arg("key").args(args).env("GLASSBOX_CONFIG", self.root()).env_remove("GLASSBOX_PASSPHRASE");
        command.stdin(Stdio::null()).current_dir(self.root());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.key(args).output().expect("the command starts")
    }

    fn run_with(&self, passphrase: &str, args: &[&str]) -> Output {
        self.key(args).env("GLASSBOX_PASSPHRASE", passphrase).output().expect("the command starts")
    }

    /// A file among the keys.
    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.root().join("keys")).expect("a folder");
        std::fs::write(self.file(name), text).expect("written");
        chmod(&self.file(name), 0o600);
    }

    /// What a command says, without what differs from run to run.
    fn text(&self, output: &Output) -> String {
        let mut text = stdout(output) + &stderr(output);
        if output.status.code() != Some(0) {
            text += &format!("exit code {}\n", output.status.code().expect("it was not killed"));
        }
        text.replace(&*self.root().to_string_lossy(), "HOME")
    }

    /// The same for a key that was just made.
    fn text_of_new(&self, output: &Output) -> String {
        self.text(output).replace(&public_in(&stdout(output)), "KEY")
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn public_in(text: &str) -> String {
    let is_public = |word: &&str| word.len() == 64 && word.bytes().all(|c| c.is_ascii_hexdigit());
    text.split_whitespace().find(is_public).unwrap_or_else(|| panic!("no key in:\n{text}")).to_owned()
}

fn check(text: String, expected: Expect) {
    assert!(!text.contains("panicked"), "{text}");
    expected.assert_eq(&text);
}

/// False where there is no such program.
fn is_there(program: &str, arg: &str) -> bool {
    Command::new(program).arg(arg).output().is_ok_and(|output| output.status.success())
}

/// The public key, as openssl finds it in a file.
fn openssl_public(file: &Path, passphrase: &str) -> Option<String> {
    if !is_there("openssl", "version") {
        return None;
    }
    let mut command = Command::new("openssl");
    command.args(["pkey", "-pubout", "-outform", "DER", "-passin", &format!("pass:{passphrase}"), "-in"]).arg(file);
    let output = command.output().expect("openssl starts");
    assert!(output.status.success(), "{}", stderr(&output));
    Some(output.stdout[output.stdout.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn a_key_is_made_shown_and_listed() {
    let home = Home::new();
    check(home.text(&home.run(&["list"])), expect![[""]]);
    let made = home.run(&["new"]);
    check(
        home.text_of_new(&made),
        expect![[r#"
            Name:       default
            Public key: KEY
            File:       HOME/keys/default.pem
            Encrypted:  no
        "#]],
    );
    let public = public_in(&stdout(&made));
    assert_eq!((mode(&home.file("default.pem")), mode(&home.root().join("keys"))), (0o600, 0o700));
    assert_eq!(stdout(&home.run(&["show"])), stdout(&made));
    if let Some(found) = openssl_public(&home.file("default.pem"), "") {
        assert_eq!(found, public);
    }
    check(
        home.text(&home.run(&["show", "--json"])).replace(&public, "KEY"),
        expect![[r#"
            {"name":"default","public":"KEY","file":"HOME/keys/default.pem","encrypted":false}
        "#]],
    );
    home.put("a.pem", PLAIN);
    home.put(".new-left-behind", "");
    home.put("notes.txt", "");
    check(
        home.text(&home.run(&["list"])).replace(&public, "KEY"),
        expect![[r#"
            a        d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
            default  KEY
        "#]],
    );
}

#[test]
fn a_passphrase_encrypts_as_openssl_reads() {
    let home = Home::new();
    let made = home.run_with("correct horse", &["new", "bob", "--passphrase"]);
    check(
        home.text_of_new(&made),
        expect![[r#"
            Name:       bob
            Public key: KEY
            File:       HOME/keys/bob.pem
            Encrypted:  yes
        "#]],
    );
    let text = std::fs::read_to_string(home.file("bob.pem")).expect("readable");
    let public = public_in(&stdout(&made));
    assert!(text.starts_with(&format!("public key: {public}\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n")), "{text}");
    // Nobody is asked.
    assert_eq!(stdout(&home.run(&["show", "bob"])), stdout(&made));
    check(
        home.text(&home.run(&["list"])).replace(&public, "KEY"),
        expect![[r#"
        bob  KEY  encrypted
    "#]],
    );
    if let Some(found) = openssl_public(&home.file("bob.pem"), "correct horse") {
        assert_eq!(found, public);
    }
    check(
        home.text(&home.run_with("", &["new", "eve", "--passphrase"])),
        expect![[r#"
        ERROR: the passphrase is empty
        exit code 2
    "#]],
    );
    assert!(!home.file("eve.pem").exists());
}

/// Without our first line only the passphrase tells whose key it is.
#[test]
fn a_key_that_openssl_made() {
    if !is_there("openssl", "version") {
        return;
    }
    let home = Home::new();
    home.put("plain.pem", PLAIN);
    for (name, cipher) in [("aes", "-v2=aes-256-cbc"), ("scrypt", "-scrypt"), ("default", "-topk8")] {
        let file = home.file(&format!("{name}.pem"));
        let mut command = Command::new("openssl");
        command.args(["pkcs8", "-topk8", "-passout", "pass:x", "-in"]).arg(home.file("plain.pem")).arg("-out").arg(&file);
        match cipher.split_once('=') {
            Some((flag, value)) => command.args([flag, value]),
            None => command.arg(cipher),
        };
        let output = command.output().expect("openssl starts");
        assert!(output.status.success(), "{}", stderr(&output));
        chmod(&file, 0o600);
        let shown = home.run_with("x", &["show", name]);
        assert_eq!(public_in(&stdout(&shown)), PUBLIC, "{cipher}: {}", stderr(&shown));
    }
    check(
        home.text(&home.run(&["list"])),
        expect![[r#"
        aes      (encrypted; glassbox key show asks for the passphrase)
        default  (encrypted; glassbox key show asks for the passphrase)
        plain    d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
        scrypt   (encrypted; glassbox key show asks for the passphrase)
    "#]],
    );
    check(
        home.text(&home.run_with("y", &["show", "aes"])),
        expect![[r#"
        ERROR: HOME/keys/aes.pem: wrong passphrase
        exit code 2
    "#]],
    );
}

#[test]
fn a_key_is_never_overwritten() {
    let home = Home::new();
    home.put("bob.pem", "anything");
    std::os::unix::fs::symlink("nowhere", home.file("link.pem")).expect("made");
    for name in ["bob", "link"] {
        let output = home.run(&["new", name]);
        assert_eq!(home.text(&output), format!("ERROR: there is a key {name} already: HOME/keys/{name}.pem\nexit code 2\n"));
    }
    assert_eq!(std::fs::read_to_string(home.file("bob.pem")).expect("readable"), "anything");
    // Of many who make it at once, one does.
    let racing: Vec<_> = (0..8).map(|_| home.key(&["new"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()).collect();
    let outputs: Vec<_> =
        racing.into_iter().map(|child| child.and_then(|child| child.wait_with_output()).expect("it ran")).collect();
    let made: Vec<_> = outputs.iter().filter(|output| output.status.success()).map(stdout).collect();
    assert_eq!(made, [stdout(&home.run(&["show"]))]);
    assert!(outputs.iter().all(|output| matches!(output.status.code(), Some(0 | 2))));
    assert_eq!(std::fs::read_dir(home.root().join("keys")).expect("readable").count(), 3);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let home = Home::new();
    home.put("bob.pem", PLAIN);
    for mode in [0o640, 0o604, 0o620] {
        chmod(&home.file("bob.pem"), mode);
        let file = "HOME/keys/bob.pem";
        let says = format!("{file}: others can read this private key (mode {mode:04o}); first: chmod 600 {file}\n");
        assert_eq!(home.text(&home.run(&["show", "bob"])), format!("ERROR: {says}exit code 2\n"));
        assert_eq!(home.text(&home.run(&["list"])), format!("WARNING: {says}"));
    }
    chmod(&home.file("bob.pem"), 0o400);
    assert_eq!(public_in(&stdout(&home.run(&["show", "bob"]))), PUBLIC);
}

#[test]
fn a_key_by_its_path() {
    let home = Home::new();
    home.put("bob.pem", PLAIN);
    for path in ["keys/bob.pem", "./keys/bob.pem"] {
        check(
            home.text(&home.run(&["show", path])).replace("./", ""),
            expect![[r#"
                Name:       bob
                Public key: d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
                File:       keys/bob.pem
                Encrypted:  no
            "#]],
        );
    }
    check(
        home.text(&home.run(&["show", "eve.pem"])),
        expect![[r#"
        ERROR: eve.pem: No such file or directory (os error 2)
        exit code 2
    "#]],
    );
}

#[test]
fn what_is_no_key_is_refused() {
    let home = Home::new();
    let block = |label: &str, base64: &str| format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n");
    home.put("empty.pem", "");
    home.put("text.pem", "not a key\n");
    home.put("binary.pem", [0xff; 100]);
    home.put("long.pem", "x".repeat(100_000));
    home.put("cut.pem", &PLAIN[..60]);
    home.put("public.pem", block("PUBLIC KEY", "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="));
    home.put("ssh.pem", block("OPENSSH PRIVATE KEY", "MAA="));
    home.put("der.pem", block("PRIVATE KEY", "MAA="));
    home.put("encrypted.pem", block("ENCRYPTED PRIVATE KEY", "MAA="));
    // X25519 in place of Ed25519.
    home.put("x25519.pem", PLAIN.replace("BQYDK2Vw", "BQYDK2Vu"));
    home.put("header.pem", format!("public key: me\n{PLAIN}"));
    home.put("label.pem", format!("public key: {}\n{PLAIN}", PUBLIC.replace("d75a", "a75d")));
    std::fs::create_dir(home.file("folder.pem")).expect("made");
    let names = "empty text binary long cut public ssh der encrypted x25519 header label folder none a/b ../x .hidden größe";
    let said: String = names.split(' ').chain([""]).map(|name| home.text(&home.run_with("x", &["show", name]))).collect();
    check(
        said,
        expect![[r#"
        ERROR: HOME/keys/empty.pem: the file is empty
        exit code 2
        ERROR: HOME/keys/text.pem: not the PEM text of a PKCS#8 private key
        exit code 2
        ERROR: HOME/keys/binary.pem: not the PEM text of a private key
        exit code 2
        ERROR: HOME/keys/long.pem: not the PEM text of a private key
        exit code 2
        ERROR: HOME/keys/cut.pem: not the PEM text of a PKCS#8 private key
        exit code 2
        ERROR: HOME/keys/public.pem: PEM, but not a private key
        exit code 2
        ERROR: HOME/keys/ssh.pem: not PKCS#8: a key of another program
        exit code 2
        ERROR: HOME/keys/der.pem: not a PKCS#8 private key
        exit code 2
        ERROR: HOME/keys/encrypted.pem: not an encrypted PKCS#8 private key
        exit code 2
        ERROR: HOME/keys/x25519.pem: not an ed25519 key
        exit code 2
        ERROR: HOME/keys/header.pem: the first line is not a public key of 64 hex digits
        exit code 2
        ERROR: HOME/keys/label.pem: the first line names another key than the one below it
        exit code 2
        ERROR: HOME/keys/folder.pem: not a file
        exit code 2
        ERROR: there is no key none; make it: glassbox key new none
        exit code 2
        ERROR: a/b: No such file or directory (os error 2)
        exit code 2
        ERROR: ../x: No such file or directory (os error 2)
        exit code 2
        ERROR: ".hidden" is no name of a key: 1 to 64 letters, digits, '.', '_' or '-', no '.' first, no .pem at the end
        exit code 2
        ERROR: "größe" is no name of a key: 1 to 64 letters, digits, '.', '_' or '-', no '.' first, no .pem at the end
        exit code 2
        ERROR: "" is no name of a key: 1 to 64 letters, digits, '.', '_' or '-', no '.' first, no .pem at the end
        exit code 2
    "#]],
    );
    for name in ["a/b", ".hidden", "key.pem", "größe", "", &"a".repeat(65)] {
        let output = home.run(&["new", name]);
        let says = "is no name of a key: 1 to 64 letters, digits, '.', '_' or '-', no '.' first, no .pem at the end";
        assert_eq!(home.text(&output), format!("ERROR: {name:?} {says}\nexit code 2\n"));
    }
}

/// What a file may demand of scrypt has bounds.
#[test]
fn a_key_cannot_demand_any_work() {
    let home = Home::new();
    home.run_with("x", &["new", "--passphrase"]);
    let text = std::fs::read_to_string(home.file("default.pem")).expect("readable");
    let base64: String = text.lines().filter(|line| !line.contains([' ', '-'])).collect();
    let der = BASE64_STANDARD.decode(base64).expect("base64");
    // The integers N, r and p.
    let at = der.windows(10).position(|bytes| bytes == [2, 2, 0x40, 0, 2, 1, 8, 2, 1, 5]).expect("they are there");
    for (n, r, p) in [(0x7fff, 8, 5), (0, 8, 5), (0x4000, 0, 5), (0x4000, 8, 0), (0x4000, 8, 65), (0x4000, 127, 127)] {
        let mut der = der.clone();
        der[at + 2..at + 4].copy_from_slice(&u16::to_be_bytes(n));
        (der[at + 6], der[at + 9]) = (r, p);
        let changed = BASE64_STANDARD.encode(&der);
        let lines: Vec<&str> = changed.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
        let label = "ENCRYPTED PRIVATE KEY";
        home.put("changed.pem", format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")));
        let said = home.text(&home.run_with("x", &["show", "changed"]));
        assert_eq!(said, "ERROR: HOME/keys/changed.pem: not an encrypted PKCS#8 private key\nexit code 2\n", "{n} {r} {p}");
    }
}

/// A terminal, by script(1): the passphrase is asked for twice, and not shown.
#[test]
fn a_passphrase_is_typed_twice() {
    if !is_there("script", "--version") {
        return;
    }
    let home = Home::new();
    let type_in = |args: &str, typed: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{} key {args}", env!("CARGO_BIN_EXE_glassbox")), "/dev/null"]);
        command.env("GLASSBOX_CONFIG", home.root()).env_remove("GLASSBOX_PASSPHRASE");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script starts");
        child.stdin.take().expect("piped").write_all(typed.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        (output.status.code(), stdout(&output))
    };
    let (code, said) = type_in("new a --passphrase", "one\ntwo\n");
    assert!(code == Some(2) && said.contains("the passphrases differ"), "{said}");
    let (code, said) = type_in("new a --passphrase", "secret\nsecret\n");
    assert!(code == Some(0) && said.contains("Passphrase: ") && said.contains("The same again: "), "{said}");
    if let Some(found) = openssl_public(&home.file("a.pem"), "secret") {
        assert_eq!(found, public_in(&stdout(&home.run(&["show", "a"]))));
    }
}

#[test]
fn the_platform_has_a_folder_for_keys() {
    let home = Home::new();
    let folder = |variables: &[(&str, &str)]| {
        let mut command = glassbox();
        command.args(["key", "new"]).env_remove("GLASSBOX_CONFIG").env_remove("XDG_CONFIG_HOME").env("HOME", home.root());
        for (variable, value) in variables {
            command.env(variable, value);
        }
        let output = command.output().expect("the command starts");
        let said = home.text(&output);
        said.lines().find_map(|line| line.strip_prefix("File:       ")).unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    if cfg!(target_os = "macos") {
        assert_eq!(folder(&[]), "HOME/Library/Application Support/glassbox/keys/default.pem");
        return;
    }
    assert_eq!(folder(&[]), "HOME/.config/glassbox/keys/default.pem");
    let xdg = home.root().join("xdg");
    assert_eq!(folder(&[("XDG_CONFIG_HOME", &xdg.to_string_lossy())]), "HOME/xdg/glassbox/keys/default.pem");
}
