//! The kprov command, carried in a binary of the tests so that they can start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    kprov_cli::main()
}
