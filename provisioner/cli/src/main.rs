//! The kprov command.

use std::process::ExitCode;

fn main() -> ExitCode {
    kprov_cli::main()
}
