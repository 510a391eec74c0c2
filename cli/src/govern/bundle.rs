//! A folder as a bundle.
//!
//! ```text
//! DIR/app.json      ──▶ {"metadata": {"endpoints":…},
//! DIR/src/a/b.js    ──▶  "modules": [{"name": "a/b.js", "module": "the source"}, …]}
//! ```
//!
//! Modules are the files under `src` that end in `.js` or `.mjs`, in the order of their names. What stands elsewhere, or is no
//! module, is left out: maps, types, sources in other languages.

use crate::Failed;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of a request's body.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What a signature, its header and the proposal around a bundle take, at most.
const ENVELOPE_BYTES: usize = 4 << 10;

/// Bytes of a proposal: it must fit into the body of a request, signed.
pub const MAX_PROPOSAL_BYTES: usize = MAX_BODY_BYTES - ENVELOPE_BYTES;

/// Bytes of a bundle as JSON: the proposal that deploys it is a little longer.
const MAX_BUNDLE_BYTES: usize = MAX_PROPOSAL_BYTES - 256;

/// Folders within folders.
const MAX_DEPTH: usize = 32;

/// Files and folders that are looked at.
const MAX_ENTRIES: usize = 10_000;

fn failed(path: &Path, why: impl std::fmt::Display) -> Failed {
    Failed::unable(format!("{}: {why}", path.display()))
}

/// Reads a bundle.
pub fn bundle_of(dir: &Path) -> Result<Value, Failed> {
    let app = dir.join("app.json");
    if !app.exists() {
        let built = dir.join("dist");
        let hint = if built.join("app.json").exists() { format!(", but {} has", built.display()) } else { String::new() };
        return Err(failed(dir, format!("there is no app.json in it{hint}")));
    }
    let mut walk = Walk { root: dir.canonicalize().map_err(|error| failed(dir, error))?, ..Walk::default() };
    let metadata = walk.read(&app)?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| failed(&app, format!("it is no JSON: {error}")))?;
    if !metadata.get("endpoints").is_some_and(Value::is_object) {
        return Err(failed(&app, "it has no endpoints, an object of paths"));
    }
    let src = dir.join("src");
    if !src.is_dir() {
        return Err(failed(dir, "there is no folder src in it"));
    }
    walk.folder(&src, "", 0)?;
    walk.modules.sort_unstable();
    let modules: Vec<Value> = walk.modules.into_iter().map(|(name, module)| json!({ "name": name, "module": module })).collect();
    if modules.is_empty() {
        return Err(failed(&src, "there are no modules in it: files that end in .js or .mjs"));
    }
    let bundle = json!({ "metadata": metadata, "modules": modules });
    let len = bundle.to_string().len();
    if len > MAX_BUNDLE_BYTES {
        return Err(failed(dir, too_large(len)));
    }
    Ok(bundle)
}

fn too_large(len: usize) -> String {
    format!("the bundle has {len} bytes as JSON; what is proposed must fit into 1 MB, so at most {MAX_BUNDLE_BYTES}")
}

/// What has been found so far.
#[derive(Default)]
struct Walk {
    root: PathBuf,
    modules: Vec<(String, String)>,
    bytes: usize,
    entries: usize,
}

impl Walk {
    /// A file's text. Links may lead anywhere within the folder.
    fn read(&mut self, path: &Path) -> Result<String, Failed> {
        let real = path.canonicalize().map_err(|error| failed(path, error))?;
        if !real.starts_with(&self.root) {
            return Err(failed(path, format!("it is a link to {}, which is outside of the folder", real.display())));
        }
        let len = fs::metadata(&real).map_err(|error| failed(path, error))?.len();
        self.bytes = self.bytes.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
        if self.bytes > MAX_BODY_BYTES {
            return Err(failed(path, too_large(self.bytes)));
        }
        let bytes = fs::read(&real).map_err(|error| failed(path, error))?;
        String::from_utf8(bytes)
            .map_err(|error| failed(path, format!("it is not UTF-8, at byte {}", error.utf8_error().valid_up_to())))
    }

    fn folder(&mut self, dir: &Path, name: &str, depth: usize) -> Result<(), Failed> {
        if depth > MAX_DEPTH {
            return Err(failed(dir, format!("folders stand in each other more than {MAX_DEPTH} deep")));
        }
        let real = dir.canonicalize().map_err(|error| failed(dir, error))?;
        if !real.starts_with(&self.root) {
            return Err(failed(dir, format!("it is a link to {}, which is outside of the folder", real.display())));
        }
        for entry in fs::read_dir(dir).map_err(|error| failed(dir, error))? {
            let path = entry.map_err(|error| failed(dir, error))?.path();
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(failed(dir, format!("there are more than {MAX_ENTRIES} files in it")));
            }
            let Some(file) = path.file_name().and_then(|file| file.to_str()) else {
                return Err(failed(&path, "its name is not UTF-8"));
            };
            let name = if name.is_empty() { file.to_owned() } else { format!("{name}/{file}") };
            let is_module = file.ends_with(".js") || file.ends_with(".mjs");
            if path.is_dir() {
                self.folder(&path, &name, depth + 1)?;
            } else if is_module {
                let source = self.read(&path)?;
                self.modules.push((name, source));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    const APP: &str = r#"{"endpoints":{}}"#;

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(path, content).expect("written");
        }
        dir
    }

    fn why(dir: &TempDir) -> String {
        bundle_of(dir.path()).expect_err("it is wrong").message
    }

    #[test]
    fn modules_in_the_order_of_their_names() {
        let app = APP.as_bytes();
        let dir = folder(&[("app.json", app), ("src/b.js", b"B"), ("src/a/c.mjs", b"C"), ("src/a.ts", b"T"), ("other.js", b"O")]);
        symlink(dir.path().join("other.js"), dir.path().join("src/z.js")).expect("linked");
        let bundle = bundle_of(dir.path()).expect("a bundle");
        let expected = json!([
            { "name": "a/c.mjs", "module": "C" }, { "name": "b.js", "module": "B" }, { "name": "z.js", "module": "O" },
        ]);
        assert_eq!(bundle, json!({ "metadata": { "endpoints": {} }, "modules": expected }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let app = APP.as_bytes();
        assert!(why(&folder(&[("dist/app.json", app)])).contains("there is no app.json in it, but "));
        assert!(why(&folder(&[("app.json", b"{")])).contains("app.json: it is no JSON: "));
        assert!(why(&folder(&[("app.json", b"{}")])).contains("it has no endpoints"));
        assert!(why(&folder(&[("app.json", app)])).contains("there is no folder src"));
        assert!(why(&folder(&[("app.json", app), ("src/a.ts", b"")])).contains("there are no modules"));
        assert!(why(&folder(&[("app.json", app), ("src/a.js", b"ab\xff")])).contains("a.js: it is not UTF-8, at byte 2"));
        let large = vec![b'x'; MAX_BODY_BYTES];
        assert!(why(&folder(&[("app.json", app), ("src/a.js", &large)])).contains("must fit into 1 MB"));
        // In JSON a control character takes six bytes.
        let large = vec![1; MAX_BODY_BYTES / 4];
        assert!(why(&folder(&[("app.json", app), ("src/a.js", &large)])).contains("must fit into 1 MB"));
    }

    #[test]
    fn links_lead_nowhere_else() {
        let outside = folder(&[("secret.js", b"S")]);
        let dir = folder(&[("app.json", APP.as_bytes()), ("src/a.js", b"")]);
        symlink(outside.path().join("secret.js"), dir.path().join("src/b.js")).expect("linked");
        assert!(why(&dir).contains("which is outside of the folder"));
        fs::remove_file(dir.path().join("src/b.js")).expect("removed");
        symlink(outside.path(), dir.path().join("src/more")).expect("linked");
        assert!(why(&dir).contains("which is outside of the folder"));
        fs::remove_file(dir.path().join("src/more")).expect("removed");
        symlink("..", dir.path().join("src/loop")).expect("linked");
        assert!(why(&dir).contains("more than 32 deep"));
    }
}
