//! The program: daemon and tool in one binary.

fn main() {}
