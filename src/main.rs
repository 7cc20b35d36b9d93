//! The program: daemon and tool in one binary.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// What the background thread frees is joined and given back by threads of the allocator's
/// own, and not by the loop at its next allocation: docs/ARCHITECTURE.md, "Dependencies".
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    ExitCode::from(quorate::cli::main(std::env::args_os()))
}
