//! What README.md tells people to type.

use crate::cluster::Cluster;
use crate::processes::quorate;

/// The commands in the blocks that say that they are tested here, as words.
fn commands() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).expect("there is a README");
    let mut commands = Vec::new();
    for section in text.split("<!-- tested by: tests/cluster -->").skip(1) {
        let block = section.split("```").nth(1).expect("a block follows");
        let lines = block.lines().skip(1);
        commands.extend(lines.map(|line| line.split(' ').map(str::to_owned).collect()));
    }
    commands
}

#[test]
fn the_commands_of_the_readme_work() {
    let cluster = Cluster::start();
    let commands = commands();
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words[..] {
            ["cargo", "run", "--release", "--", "demo"] => {
                quorate("", &["demo"], b"").expect(0);
            }
            ["quorate", "keygen", _] => {
                let file = cluster.directory.path().join("key").display().to_string();
                quorate("", &["keygen", &file], b"").expect(0);
            }
            ["quorate", ref words @ ..] => {
                cluster.run(words).expect(0);
            }
            _ => panic!("this test does not know how to run {command:?}"),
        }
    }
}
