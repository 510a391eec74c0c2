//! Stand-in.
use crate::Failed;
use serde_json::{Value, json};
use std::path::Path;
/// x
pub fn bundle_of(dir: &Path) -> Result<Value, Failed> {
    let read = |p: &Path| std::fs::read_to_string(p).map_err(|e| Failed::new(format!("{}: {e}", p.display())));
    let metadata: Value = serde_json::from_str(&read(&dir.join("app.json"))?).map_err(Failed::new)?;
    let mut modules = Vec::new();
    for entry in std::fs::read_dir(dir.join("src")).map_err(Failed::new)?.flatten() {
        modules.push(json!({"name": entry.file_name().to_string_lossy(), "module": read(&entry.path())?}));
    }
    Ok(json!({"metadata": metadata, "modules": modules}))
}
