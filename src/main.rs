//! The program: daemon and tool in one binary.

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    quorate::cli::run(&arguments).into()
}
