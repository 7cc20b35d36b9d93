//! What the documents say must be there.

use std::fs;

use crate::blocks::prose;
use crate::expect_none;
use crate::tree::{Source, root, sources};

/// The targets of links that are neither elsewhere nor there.
fn broken_links(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, line) in prose(&source.text) {
        for target in line.split("](").skip(1).filter_map(|after| Some(after.split_once(')')?.0)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if let Err(why) = resolve(source, target) {
                complaints.push(format!("{}: the link to {target}: {why}", source.at(at)));
            }
        }
    }
    complaints
}

fn resolve(source: &Source, target: &str) -> Result<(), &'static str> {
    let (path, heading) = match target.split_once('#') {
        Some((path, heading)) => (path, Some(heading)),
        None => (target, None),
    };
    let directory = source.path.parent().ok_or("it leaves the repository")?;
    let file = root().join(directory).join(path);
    let text = if path.is_empty() {
        source.text.clone()
    } else if file.is_dir() {
        String::new()
    } else {
        fs::read_to_string(file).map_err(|_| "there is no such file")?
    };
    match heading {
        Some(heading) if !anchors(&text).any(|anchor| anchor == heading) => {
            Err("there is no such heading")
        }
        _ => Ok(()),
    }
}

/// The names by which headings are linked to.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        title.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The exit codes, as the program defines them: lines such as `Done = 0,`.
fn exit_codes() -> Vec<u8> {
    let text = fs::read_to_string(root().join("src/cli/exit.rs")).expect("there are exit codes");
    let code = |line: &str| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse().ok();
    text.lines().filter_map(code).collect()
}

/// The codes without a row of their own in some table: `| 0 | ... |`.
fn undocumented(codes: &[u8], documents: &[Source]) -> Vec<String> {
    let has_row = |code: &u8| {
        let starts = [format!("| {code} |"), format!("| `{code}` |")];
        let is_row = |line: &str| starts.iter().any(|start| line.starts_with(start));
        documents.iter().any(|document| document.text.lines().any(is_row))
    };
    let missing = codes.iter().filter(|code| !has_row(code));
    missing.map(|code| format!("no table has a row | {code} | for this exit code")).collect()
}

#[test]
fn links_lead_somewhere() {
    let complaints: Vec<String> = sources("md").iter().flat_map(broken_links).collect();
    expect_none(&complaints);

    let text = "# A title, twice\n[a](https://b.c) [d](../src/lib.rs) [e](#a-title-twice)\n\
                ```\n[in code](nowhere)\n```\n[f](nowhere.md) [g](#no-title) [h](..)\n";
    let complaints = broken_links(&Source::sample("docs/sample.md", text));
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains("docs/sample.md:6: the link to nowhere.md"));
    assert!(complaints[1].contains("no such heading"));
}

/// The program's own help is checked by `tests/cli`. The documents come with the README.
#[test]
fn every_exit_code_is_documented() {
    let codes = exit_codes();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5]);
    if root().join("README.md").exists() {
        expect_none(&undocumented(&codes, &sources("md")));
    }
    let sample = [Source::sample("README.md", "| 0 | done |\n| `1` | no |\nthen | 2 |\n")];
    assert_eq!(undocumented(&[0, 1, 2], &sample).len(), 1);
}
