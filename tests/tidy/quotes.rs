//! Code that quotes a guarantee quotes what stands there, and every guarantee is quoted.

use crate::expect_none;
use crate::tree::{Source, root, sources};

const DOCUMENT: &str = "docs/guarantees.md";

/// The comments of a file as one text.
fn comments(source: &Source) -> String {
    let lines = source.text.lines().map(str::trim_start);
    let comments = lines.filter_map(|line| line.strip_prefix("//"));
    let texts = comments.map(|text| text.trim_start_matches(['/', '!']).trim());
    texts.collect::<Vec<_>>().join(" ")
}

/// The sentences that the file quotes.
fn quotes(source: &Source) -> Vec<String> {
    let comments = comments(source);
    let parts = comments.split(concat!("docs/guarantees", ".md: \"")).skip(1);
    parts.filter_map(|part| Some(part.split_once('"')?.0.to_owned())).collect()
}

/// Guarantees as one text without emphasis, and each by its number.
fn guarantees() -> (String, Vec<String>) {
    let text = std::fs::read_to_string(root().join(DOCUMENT)).expect("it is there");
    let words = text.replace("**", "").split_whitespace().collect::<Vec<_>>().join(" ");
    let starts = |line: &&str| line.split_once(". ").is_some_and(|(n, _)| n.parse::<u8>().is_ok());
    let numbered = text.lines().filter(starts).map(str::to_owned).collect();
    (words, numbered)
}

#[test]
fn what_is_quoted_stands_there() {
    let (guarantees, _) = guarantees();
    let is_wrong = |quote: &&String| !guarantees.contains(quote.as_str());
    let sources = sources("rs");
    let mut complaints = Vec::new();
    for source in &sources {
        for quote in quotes(source).iter().filter(is_wrong) {
            complaints.push(format!("{}: '{quote}' is not in {DOCUMENT}", source.at(0)));
        }
    }
    expect_none(&complaints);

    let line = concat!("// docs/guarantees", ".md: \"Nothing is ever\n// lost at all\".");
    let quoted = quotes(&Source::sample("src/a.rs", line));
    assert_eq!(quoted, ["Nothing is ever lost at all"]);
    assert!(is_wrong(&&quoted[0]));
}

#[test]
fn every_guarantee_is_quoted_where_it_is_kept() {
    let (_, numbered) = guarantees();
    assert!(numbered.len() > 10, "{numbered:?}");
    let all: String = sources("rs").iter().flat_map(quotes).collect::<Vec<_>>().join("\n");
    let kept = |line: &&String| {
        let sentence = line.replace("**", "");
        let (_, sentence) = sentence.split_once(". ").expect("it has a number");
        let words: Vec<&str> = sentence.split_whitespace().take(4).collect();
        !all.contains(&words.join(" "))
    };
    let complaints: Vec<String> =
        numbered.iter().filter(kept).map(|line| format!("nobody quotes: {line}")).collect();
    expect_none(&complaints);
}
