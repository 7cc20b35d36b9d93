//! A cluster of one.

use tempfile::TempDir;

use crate::processes::{Node, Ran, quorate};

/// A node alone, and the client commands that ask it.
#[derive(Debug)]
pub struct Alone {
    pub node: Node,
    pub address: String,
    pub directory: TempDir,
}

impl Alone {
    /// Starts a node on a free port, and waits until it serves.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("there is room for a directory"))
    }

    /// The same, with more flags.
    pub fn start_with(flags: &[&str]) -> Self {
        Self::start_with_in(flags, tempfile::tempdir().expect("there is room for a directory"))
    }

    /// The same, on what the directory holds already.
    pub fn start_in(directory: TempDir) -> Self {
        Self::start_with_in(&[], directory)
    }

    /// The same, with more flags.
    pub fn start_with_in(more: &[&str], directory: TempDir) -> Self {
        let data = directory.path().join("data").display().to_string();
        let flags = ["--id", "1", "--data-dir", &data, "--listen", "127.0.0.1:0"];
        let flags = [&flags[..], more].concat();
        let node = Node::start(&flags, &directory.path().join("log"));
        let address = node.wait_until_ready();
        Self { node, address, directory }
    }

    /// Where the node keeps its data.
    pub fn data_dir(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    /// Ends the node. Returns what it leaves.
    pub fn end(mut self) -> TempDir {
        assert_eq!(self.node.terminate().0, 0, "{}", self.node.said());
        self.directory
    }

    /// Runs a client command.
    pub fn run(&self, words: &[&str]) -> Ran {
        quorate(&self.address, words, b"")
    }

    /// Runs a client command that reads its standard input.
    pub fn run_on(&self, words: &[&str], input: &[u8]) -> Ran {
        quorate(&self.address, words, input)
    }
}
