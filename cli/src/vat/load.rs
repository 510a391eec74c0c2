//! Reads vats from a folder: `vat-*.js`, `vat-*/index.js` and `bootstrap.js`, or what a configuration names, with all that they import.
//!
//! A module's path is as it is written in imports, from the root; links are followed as long as they stay inside.
//!
//! # Invariants
//!
//! - Nothing outside of the root is read.
//! - What is loaded is syntactically right, and everything that it imports is here or known.
//! - The same files make the same [`Source`].

use machine::vats::source::module::{Dialect, Form, Module};
use machine::vats::source::packages::is_package;
use machine::vats::source::{Source, VatSource, candidates, join};
use machine::vats::wavy::SyntaxError;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes of all modules together.
pub const SOURCE_BYTES: u64 = 64 << 20;

/// Modules of one source.
pub const MODULES: usize = 10_000;

/// Bytes of a configuration.
const CONFIG_BYTES: u64 = 1 << 20;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What can be installed.
    pub source: Source,
    /// The vats' dialects, as far as they can be seen.
    pub dialects: BTreeMap<String, Dialect>,
    /// Entries of the folder, or fields of the configuration, that nothing was made of.
    pub ignored: Vec<String>,
}

/// Why there is nothing to install. Files are named as seen from the root.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No `bootstrap.js`.
    #[error("{0} has no bootstrap.js: its bootstrap(argv, vats) is what gets vats going")]
    NoBootstrap(String),
    /// Two vats, or two bundles.
    #[error("{first} and {second} are both named '{name}'")]
    Duplicate {
        /// The name.
        name: String,
        /// Its module.
        first: String,
        /// Its module.
        second: String,
    },
    /// A file or folder that cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// A link to somewhere else.
    #[error("{0} leads out of the folder")]
    Outside(String),
    /// Neither a file nor a link to one.
    #[error("{0} is no regular file")]
    NoFile(String),
    /// Bytes that are no text.
    #[error("{0} is not UTF-8")]
    NoText(String),
    /// More than [`SOURCE_BYTES`] or [`MODULES`].
    #[error("{0}: the vats' sources have more than {limit} MiB in all, or {MODULES} files", limit = SOURCE_BYTES >> 20)]
    TooLarge(String),
    /// No JavaScript.
    #[error("{file}:{}:{}: {}\n  {}", .error.line, .error.column, .error.message, .error.excerpt)]
    Syntax {
        /// Where.
        file: String,
        /// What.
        error: SyntaxError,
    },
    /// An import that leads nowhere.
    #[error("{file}:{line}: cannot import '{specifier}': {why}")]
    Import {
        /// The importer.
        file: String,
        /// Its line.
        line: u32,
        /// What it asks for.
        specifier: String,
        /// What is wrong with that.
        why: String,
    },
    /// The configuration.
    #[error("{file}: {why}")]
    Config {
        /// Its name.
        file: String,
        /// What is wrong with it.
        why: String,
    },
}

/// From a folder with `bootstrap.js`.
pub fn load(basedir: &Path) -> Result<Loaded, LoadError> {
    let shown = basedir.display().to_string();
    let mut loader = Loader::new(basedir)?;
    let mut names = Vec::new();
    let mut ignored = Vec::new();
    for entry in fs::read_dir(basedir).map_err(|error| LoadError::Read { file: shown.clone(), error })? {
        match entry.map_err(|error| LoadError::Read { file: shown.clone(), error })?.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => ignored.push(name.to_string_lossy().into_owned()),
        }
    }
    names.sort();
    let (mut vats, mut bundles, mut has_bootstrap) = (Vec::new(), BTreeMap::new(), false);
    for name in names {
        let path = basedir.join(&name);
        let is_file = path.is_file();
        let between = |start: &str, end: &str| name.strip_prefix(start)?.strip_suffix(end).filter(|name| !name.is_empty());
        if name.ends_with('~') {
            continue;
        } else if let Some(vat) = between("vat-", ".js").filter(|_| is_file) {
            vats.push((vat.to_owned(), format!("/{name}")));
        } else if let Some(vat) = between("vat-", "").filter(|_| path.join("index.js").is_file()) {
            vats.push((vat.to_owned(), format!("/{name}/index.js")));
        } else if let Some(bundle) = between("bundle-", ".js").filter(|_| is_file) {
            bundles.insert(bundle.to_owned(), format!("/{name}"));
        } else if name == "bootstrap.js" {
            has_bootstrap = true;
        } else {
            ignored.push(name);
        }
    }
    ignored.sort();
    if !has_bootstrap {
        return Err(LoadError::NoBootstrap(shown));
    }
    loader.entry("/bootstrap.js")?;
    let bootstrap = if loader.dialects["/bootstrap.js"].is_of_2019() { "_bootstrap" } else { "bootstrap" };
    vats.push((bootstrap.to_owned(), "/bootstrap.js".to_owned()));
    let vats = vats.into_iter().map(|(name, module)| VatSource { name, module, parameters: None, options: None }).collect();
    loader.finish(vats, bootstrap.to_owned(), bundles, ignored)
}

/// Today's configuration, as far as it is about sources. What tunes the kernel is ignored, and said so.
#[derive(Deserialize)]
struct Config {
    bootstrap: Option<String>,
    vats: BTreeMap<String, VatConfig>,
    #[serde(default)]
    bundles: BTreeMap<String, BundleConfig>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Fields that mean nothing here.
const TUNING: [&str; 12] = [
    "bundleCachePath",
    "bundleFormat",
    "defaultManagerType",
    "defaultReapGCKrefs",
    "defaultReapInterval",
    "description",
    "includeDevDependencies",
    "namedBundles",
    "pinBootstrapRoot",
    "relaxDurabilityRules",
    "snapshotInitial",
    "snapshotInterval",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VatConfig {
    source_spec: Option<String>,
    bundle_name: Option<String>,
    parameters: Option<Value>,
    creation_options: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BundleConfig {
    source_spec: String,
}

/// From a configuration: a JSON file, in whose folder the sources are.
pub fn load_config(file: &Path) -> Result<Loaded, LoadError> {
    let shown = file.display().to_string();
    let wrong = |why: String| LoadError::Config { file: shown.clone(), why };
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(CONFIG_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| LoadError::Read { file: shown.clone(), error })?;
    if text.len() as u64 > CONFIG_BYTES {
        return Err(wrong(format!("a configuration has {} MiB at most", CONFIG_BYTES >> 20)));
    }
    let config: Config = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| wrong(error.to_string()))?;
    if let Some(unknown) = config.others.keys().find(|field| !TUNING.contains(&field.as_str())) {
        return Err(wrong(format!("unknown field '{unknown}'")));
    }
    let module = |of: &str, spec: &str| {
        if !spec.starts_with("./") && !spec.starts_with("../") {
            return Err(wrong(format!("{of}: the sourceSpec '{spec}' must be relative: ./{spec}")));
        }
        join("/", spec).ok_or_else(|| wrong(format!("{of}: the sourceSpec '{spec}' leads out of the configuration's folder")))
    };
    let mut bundles = BTreeMap::new();
    for (name, bundle) in &config.bundles {
        bundles.insert(name.clone(), module(&format!("bundle '{name}'"), &bundle.source_spec)?);
    }
    let mut vats = Vec::new();
    for (name, vat) in config.vats {
        let of = format!("vat '{name}'");
        let module = match (vat.source_spec, vat.bundle_name) {
            (Some(spec), None) => module(&of, &spec)?,
            (None, Some(bundle)) => {
                bundles.get(&bundle).cloned().ok_or_else(|| wrong(format!("{of}: there is no bundle '{bundle}'")))?
            }
            _ => return Err(wrong(format!("{of} needs a sourceSpec or a bundleName"))),
        };
        vats.push(VatSource { name, module, parameters: vat.parameters, options: vat.creation_options });
    }
    let bootstrap = config.bootstrap.ok_or_else(|| wrong("'bootstrap' must name a vat".to_owned()))?;
    let Some(at) = vats.iter().position(|vat| vat.name == bootstrap) else {
        return Err(wrong(format!("'bootstrap' names no vat: '{bootstrap}'")));
    };
    // Last, as in a folder.
    let last = vats.remove(at);
    vats.push(last);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Loader::new(folder)?.finish(vats, bootstrap, bundles, config.others.into_keys().collect())
}

/// Modules, as they are found.
struct Loader {
    root: PathBuf,
    /// Without links.
    real: PathBuf,
    modules: BTreeMap<String, String>,
    dialects: BTreeMap<String, Dialect>,
    bytes: u64,
}

impl Loader {
    fn new(root: &Path) -> Result<Loader, LoadError> {
        let real = root.canonicalize().map_err(|error| LoadError::Read { file: root.display().to_string(), error })?;
        Ok(Loader { root: root.to_owned(), real, modules: BTreeMap::new(), dialects: BTreeMap::new(), bytes: 0 })
    }

    /// Loads what can be installed, and names its dialects.
    fn finish(
        mut self,
        vats: Vec<VatSource>,
        bootstrap: String,
        bundles: BTreeMap<String, String>,
        ignored: Vec<String>,
    ) -> Result<Loaded, LoadError> {
        let mut modules: BTreeMap<&str, &str> = BTreeMap::new();
        let mut dialects = BTreeMap::new();
        for vat in &vats {
            if let Some(first) = modules.insert(&vat.name, &vat.module) {
                return Err(LoadError::Duplicate { name: vat.name.clone(), first: shown(first), second: shown(&vat.module) });
            }
            self.entry(&vat.module)?;
            dialects.insert(vat.name.clone(), self.dialects[&vat.module]);
        }
        for module in bundles.values() {
            self.entry(module)?;
        }
        Ok(Loaded { source: Source { vats, bootstrap, modules: self.modules, bundles }, dialects, ignored })
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Loads a module and all that it imports.
    fn entry(&mut self, path: &str) -> Result<(), LoadError> {
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            if self.modules.contains_key(&path) {
                continue;
            }
            let text = self.read(&path)?;
            let module = Module::read(&text).map_err(|error| LoadError::Syntax { file: shown(&path), error })?;
            for import in &module.imports {
                let refused = |why: String| LoadError::Import {
                    file: shown(&path),
                    line: import.line,
                    specifier: import.specifier.clone(),
                    why,
                };
                match import.form {
                    Form::Static => {}
                    Form::Dynamic => {
                        return Err(refused("import() is not available in vats: use an import declaration".to_owned()));
                    }
                    Form::Foreign => {
                        return Err(refused("only modules can be imported, without attributes or phases".to_owned()));
                    }
                }
                waiting.extend(self.resolve(&path, &import.specifier).map_err(refused)?);
            }
            self.dialects.insert(path.clone(), module.dialect);
            self.modules.insert(path, text);
        }
        Ok(())
    }

    /// The path of what a module imports, if it is a file.
    fn resolve(&self, importer: &str, specifier: &str) -> Result<Option<String>, String> {
        if is_package(specifier) {
            return Ok(None);
        }
        if !matches!(specifier.split('/').next(), Some("." | "..")) {
            return Err("no package of this name is known to vats, and a file's name begins with ./ or ../".to_owned());
        }
        let path = join(importer, specifier).ok_or("it leads out of the folder")?;
        let found = candidates(&path).into_iter().find(|path| self.file(path).is_file());
        let found = found.ok_or_else(|| format!("there is no {}", shown(&path)))?;
        match self.file(&found).canonicalize() {
            Ok(real) if real.starts_with(&self.real) => Ok(Some(found)),
            Ok(_) => Err(format!("{} leads out of the folder", shown(&found))),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The text of a module, without a byte order mark.
    fn read(&mut self, path: &str) -> Result<String, LoadError> {
        let failed = |error| LoadError::Read { file: shown(path), error };
        let file = self.file(path);
        if !file.canonicalize().map_err(failed)?.starts_with(&self.real) {
            return Err(LoadError::Outside(shown(path)));
        }
        // Before it is opened: a pipe would wait for its writer.
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(LoadError::NoFile(shown(path)));
        }
        let mut bytes = Vec::new();
        File::open(file).and_then(|file| file.take(SOURCE_BYTES - self.bytes + 1).read_to_end(&mut bytes)).map_err(failed)?;
        self.bytes += bytes.len() as u64;
        if self.bytes > SOURCE_BYTES || self.modules.len() >= MODULES {
            return Err(LoadError::TooLarge(shown(path)));
        }
        let text = String::from_utf8(bytes).map_err(|_| LoadError::NoText(shown(path)))?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }
}

/// A path as seen from the root.
fn shown(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests;
