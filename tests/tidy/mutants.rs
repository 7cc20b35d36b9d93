//! The broken builds that the simulator must catch still apply to the present code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tree::root;

fn patches() -> Vec<PathBuf> {
    let directory = fs::read_dir(root().join("tests/mutants")).expect("it is there");
    let paths = directory.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "patch")).collect()
}

/// What git says against the patch; nothing if it applies.
fn objection(patch: &Path) -> String {
    let mut git = Command::new("git");
    git.args(["apply", "--check"]).arg(patch).current_dir(root());
    let output = git.output().expect("git is there");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_broken_build_applies() {
    let patches = patches();
    assert!(patches.len() >= 6, "{patches:?}");
    for patch in patches {
        assert_eq!(objection(&patch), "", "{}: write it anew", patch.display());
    }

    let stale = tempfile::NamedTempFile::new().expect("there is room for a file");
    let text = "--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -1 +1 @@\n-nothing of the kind\n+other\n";
    fs::write(stale.path(), text).expect("there is room for it");
    assert_ne!(objection(stale.path()), "");
}

#[test]
fn every_broken_build_is_told_of() {
    let document = fs::read_to_string(root().join("docs/testing.md")).expect("it is there");
    for patch in patches() {
        let name = patch.file_stem().and_then(|stem| stem.to_str()).expect("it has a name");
        assert!(document.contains(&format!("| `{name}` |")), "docs/testing.md lacks {name}");
    }
}
