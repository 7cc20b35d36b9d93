//! The program: daemon and tool in one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(quorate::cli::main(std::env::args_os()))
}
