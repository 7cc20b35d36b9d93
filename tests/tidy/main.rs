//! The repository checks itself. Each rule is a function that returns complaints, and is
//! shown a sample that breaks it beside the repository that keeps it.

mod blocks;
mod documents;
mod layers;
mod mutants;
mod quotes;
mod text;
mod tree;

/// Fails with all complaints at once.
#[track_caller]
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
