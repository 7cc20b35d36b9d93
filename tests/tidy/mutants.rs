//! The mutants that the nets must catch still apply to the present code, and the document
//! tells of each what the patch itself says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::expect_none;
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

/// What is wrong with the patch of this name and its row in the document.
fn complaint(name: &str, patch: &str, document: &str) -> Option<String> {
    let Some((sentence, _)) = patch.split_once(".\n\n") else {
        return Some(format!("{name}: no sentence says what it breaks"));
    };
    let is_told = document.contains(&format!("| `{name}` | {sentence} | "));
    (!is_told).then(|| format!("docs/testing.md lacks {name}, or tells something else of it"))
}

#[test]
fn every_mutant_applies() {
    let patches = patches();
    assert!(patches.len() >= 40, "{patches:?}");
    for patch in patches {
        assert_eq!(objection(&patch), "", "{}: write it anew", patch.display());
    }

    let stale = tempfile::NamedTempFile::new().expect("there is room for a file");
    let text = "--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -1 +1 @@\n-nothing of the kind\n+other\n";
    fs::write(stale.path(), text).expect("there is room for it");
    assert_ne!(objection(stale.path()), "");
}

#[test]
fn every_mutant_is_told_of() {
    let document = fs::read_to_string(root().join("docs/testing.md")).expect("it is there");
    let complain = |patch: PathBuf| {
        let name = patch.file_stem()?.to_str()?;
        complaint(name, &fs::read_to_string(&patch).ok()?, &document)
    };
    expect_none(&patches().into_iter().filter_map(complain).collect::<Vec<_>>());

    let row = "| `late` | It is late | seeds | seed 3 |";
    assert_eq!(complaint("late", "It is late.\n\ndiff --git", row), None);
    assert!(complaint("late", "It is early.\n\ndiff --git", row).is_some());
    assert!(complaint("late", "diff --git", row).is_some());
}
