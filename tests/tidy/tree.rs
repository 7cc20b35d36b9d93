//! The files of the repository, and what may stand at its top.

use std::fs;
use std::path::{Path, PathBuf};

use crate::expect_none;

/// What a visitor sees first. The build's own directory is not part of the repository.
const TOP_LEVEL: [&str; 8] =
    ["Cargo.lock", "Cargo.toml", "README.md", "benches", "docs", "fuzz", "src", "tests"];
const BUILD: &str = "target";

/// A text file of the repository.
#[derive(Debug)]
pub struct Source {
    /// Relative to the repository.
    pub path: PathBuf,
    pub text: String,
}

impl Source {
    /// A sample for a rule to be tried on.
    pub fn sample(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The path, and the line at `index`, for a complaint.
    pub fn at(&self, index: usize) -> String {
        format!("{}:{}", self.path.display(), index + 1)
    }
}

/// Where the repository is.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files whose name ends in `.extension`, in order.
pub fn sources(extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(root(), &mut |path| {
        if path.extension().is_some_and(|its| its == extension) {
            let text = fs::read_to_string(path).expect("a source is text");
            let path = path.strip_prefix(root()).expect("it is in the repository").to_owned();
            found.push(Source { path, text });
        }
    });
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty() || extension == "md", "there are files of .{extension}");
    found
}

/// Hidden directories and the results of builds are left out.
fn walk(directory: &Path, visit: &mut impl FnMut(&Path)) {
    for name in names(directory) {
        let path = directory.join(&name);
        if name.starts_with('.') || name == BUILD {
            continue;
        }
        if path.is_dir() {
            walk(&path, visit);
        } else {
            visit(&path);
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory can be read");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.map(|entry| name(entry.expect("a directory can be read"))).collect()
}

fn strangers(names: &[String]) -> Vec<String> {
    let visible = names.iter().filter(|name| !name.starts_with('.') && *name != BUILD);
    let strange = visible.filter(|name| !TOP_LEVEL.contains(&name.as_str()));
    strange.map(|name| format!("{name} does not belong at the top of the repository")).collect()
}

#[test]
fn the_top_of_the_repository_holds_what_it_should() {
    expect_none(&strangers(&names(root())));
    assert_eq!(strangers(&["scripts".into(), "src".into(), ".ci".into()]).len(), 1);
}
