//! Builds the guest (`guest/`) for `wasm32-unknown-unknown` and compiles the module to machine code, so that the
//! host carries neither a compiler nor a second of start-up.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

include!("src/config.rs");

/// What the guest needs of the linker and of WebAssembly. The shadow stack is four times what scripts may use.
const RUSTFLAGS: &str = "-C link-arg=-zstack-size=2097152 -C link-arg=--export=__stack_pointer \
                         -C target-feature=+sign-ext,+nontrapping-fptoint,-bulk-memory";

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let guest = root.join("guest");
    for path in ["Cargo.toml", "Cargo.lock", "src", "prelude"] {
        println!("cargo:rerun-if-changed={}", guest.join(path).display());
    }
    println!("cargo:rerun-if-changed=src/config.rs");

    need("clang", "a C compiler for WebAssembly");
    need("llvm-ar", "the archiver of llvm");

    let target = out.join("guest");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo
        .args(["build", "--release", "--locked", "--target", "wasm32-unknown-unknown"])
        .current_dir(&guest)
        .env("CARGO_TARGET_DIR", &target)
        .env("CC_wasm32_unknown_unknown", "clang")
        .env("AR_wasm32_unknown_unknown", "llvm-ar")
        // The same bytes wherever the sources lie: the digest of the engine is part of every ledger.
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            format!(
                "{RUSTFLAGS} --remap-path-prefix={}=guest --remap-path-prefix={}=cargo",
                guest.display(),
                cargo_home().display()
            ),
        )
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS");
    // The host's build may be wrapped (clippy); the guest's is a plain build.
    for wrapper in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CLIPPY_ARGS"] {
        cargo.env_remove(wrapper);
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(
        status.success(),
        "the guest did not build; it needs clang, lld and llvm, and `rustup target add wasm32-unknown-unknown` (`make deps` brings them)"
    );

    let wasm = fs::read(target.join("wasm32-unknown-unknown/release/glassbox_guest.wasm")).expect("the guest was built");
    let (code, data) = split(&wasm);
    fs::write(out.join("guest.data"), data).expect("OUT_DIR is writable");
    let mut config = engine_config();
    config.target(&env::var("TARGET").expect("cargo sets it")).expect("a target that the compiler knows");
    config.cranelift_nan_canonicalization(true);
    let engine = wasmtime::Engine::new(&config).expect("the configuration is valid");
    let machine_code = engine.precompile_module(&code).expect("the guest is a valid module");
    fs::write(out.join("guest.cwasm"), machine_code).expect("OUT_DIR is writable");
    let digest: String = Sha256::digest(&wasm).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo:rustc-env=GLASSBOX_ENGINE={digest}");
}

/// Takes the data out of a module: a realm's memory is always written, or mapped, as a whole, and what would be written before
/// that is work for nothing. Only the realms that boot need the data: for each segment its address and length, u32 LE, and
/// its bytes.
fn split(wasm: &[u8]) -> (Vec<u8>, Vec<u8>) {
    const DATA: u8 = 11;
    let (head, mut rest) = wasm.split_at(8);
    let (mut code, mut data) = (head.to_vec(), Vec::new());
    while let Some((&id, after)) = rest.split_first() {
        let mut cursor = after;
        let len = number(&mut cursor) as usize;
        let (mut section, behind) = cursor.split_at(len);
        if id == DATA {
            for _ in 0..number(&mut section) {
                let segment = number(&mut section);
                let (&[op], after) = section.split_first_chunk().expect("an address");
                assert!(segment == 0 && op == 0x41, "an active segment of memory 0 at a constant address");
                section = after;
                let address = number(&mut section);
                let (&[end], after) = section.split_first_chunk().expect("the address ends");
                assert_eq!(end, 0x0b, "a constant address");
                section = after;
                let len = number(&mut section);
                let (bytes, after) = section.split_at(len as usize);
                section = after;
                data.extend_from_slice(&address.to_le_bytes());
                data.extend_from_slice(&len.to_le_bytes());
                data.extend_from_slice(bytes);
            }
        } else {
            code.extend_from_slice(&rest[..rest.len() - behind.len()]);
        }
        rest = behind;
    }
    (code, data)
}

/// LEB128. Addresses are signed there, but never negative: then both encodings are read alike.
fn number(bytes: &mut &[u8]) -> u32 {
    let (mut value, mut shift) = (0u32, 0);
    loop {
        let (&byte, rest) = bytes.split_first().expect("a number ends");
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cargo"))
}

fn need(program: &str, what: &str) {
    let found = env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    assert!(found, "`{program}` ({what}) is missing: run `make deps`, or install clang, lld and llvm");
}
