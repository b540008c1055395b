//! The working tree as the other tests read it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_owned(), Path::to_owned)
}

/// A file of the repository.
pub(crate) struct Source {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// The text.
    pub(crate) text: String,
}

/// All text files of the repository, in the order of their paths. Build output, hidden folders
/// other than those we own, and what fuzzing collects are left out.
pub(crate) fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let root = root();
    walk(&root, &root, &mut sources);
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(sources.len() > 50, "the walk has found the tree");
    sources
}

fn walk(root: &Path, directory: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let relative = path.strip_prefix(root).expect("inside").to_string_lossy().into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let hidden =
            name.starts_with('.') && ![".ci", ".github", ".editorconfig", ".gitignore"].contains(&&*name);
        let collected = ["target", "corpus", "artifacts"].contains(&&*name);
        if hidden || collected {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, sources);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            sources.push(Source { path: relative, text });
        }
    }
}

/// What cargo says about the workspace.
pub(crate) fn metadata(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

/// The packages of [`metadata`].
pub(crate) fn packages(metadata: &serde_json::Value) -> &[serde_json::Value] {
    metadata["packages"].as_array().expect("a list of packages")
}
