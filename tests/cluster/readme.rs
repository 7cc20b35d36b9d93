//! The commands of README.md that it says are tested here, as they stand there.

use std::fs;
use std::path::Path;

use crate::cluster::Cluster;

const MARK: &str = "<!-- tested by: tests/cluster -->";
const FENCE: &str = "```";

#[test]
fn the_commands_of_the_readme_work() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let Ok(text) = fs::read_to_string(path) else { return };
    let commands = marked_commands(&text);
    assert!(!commands.is_empty(), "README.md has no commands that are tested here");
    let cluster = Cluster::start();
    for command in commands {
        let words = words(command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (["quorate", rest @ ..] | ["cargo", "run", "--release", "--", rest @ ..]) =
            words.as_slice()
        else {
            panic!("this is no command of the program: {command}")
        };
        println!("{command}");
        cluster.run(rest).expect(0);
    }
}

/// The lines of the blocks right after the mark.
fn marked_commands(text: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    for after in text.split(MARK).skip(1) {
        let mut lines = after.trim_start().lines();
        assert!(lines.next().is_some_and(|line| line.starts_with(FENCE)), "a block follows");
        let block = lines.take_while(|line| !line.starts_with(FENCE));
        commands.extend(block.filter(|line| !line.is_empty()));
    }
    commands
}

/// The words of a command, as a shell takes them, as far as single quotes go.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in command.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
