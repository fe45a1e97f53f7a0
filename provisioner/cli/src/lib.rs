//! The kprov command as a library: programs bring clusters of this machine [`up`] and [`down`] as it does, and tests
//! carry it in a binary of their own.

mod args;
mod cmd;
mod demo;
mod home;
mod kubeconfig;
mod local;
mod machine;
mod progress;
mod rights;
mod road;
mod serve;
mod whole;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command, NodeCommand};
use crate::local::control::Power;

pub use road::{down, up};

/// Runs the command that the process was started with.
///
/// Exit codes: 0 done, 1 failed, 2 arguments that make no sense. A diff ends with 1 when there is one, and with 2 when it
/// failed.
#[must_use]
pub fn main() -> ExitCode {
    // A shim lives for as long as its pod: it gets neither threads nor TLS.
    if std::env::args_os().nth(1).is_some_and(|first| first == "runtime-shim") {
        return machine::shim();
    }
    let args = Args::parse();
    rustls::crypto::ring::default_provider().install_default().ok();
    // 1 is what a diff says when there is one.
    let failed = if matches!(args.command, Command::Diff(_)) { ExitCode::from(2) } else { ExitCode::FAILURE };
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            failed
        }
    }
}

/// What a program that calls [`up`] does first: a cluster's server, and what keeps its pods, are this program started
/// once more. `None` when it was started as itself.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if let Some(code) = kprov_cli::child() {
///         return code;
///     }
///     ExitCode::SUCCESS // the program itself
/// }
/// ```
#[must_use]
pub fn child() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    let is_server = first == "serve" && arguments.next().is_some_and(|second| second == "--detached");
    (is_server || first == "runtime-shim" || first == "echo-server").then(main)
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Command::Serve(options) = args.command {
        return serve::run(options).map(|()| ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(async {
        let done = match args.command {
            Command::Diff(options) => return cmd::diff::run(options).await,
            Command::Up(options) => cmd::up::run(options).await,
            Command::Down(options) => cmd::down::run(options).await,
            Command::Status(options) => cmd::status::run(options).await,
            Command::Kubeconfig(options) => cmd::kubeconfig::run(&options),
            Command::Schema(options) => cmd::schema::run(&options),
            Command::Validate(options) => cmd::validate::run(&options),
            Command::Image(command) => machine::image(&command),
            Command::Node(NodeCommand::Stop(options)) => cmd::node::run(&options, Power::Off).await,
            Command::Node(NodeCommand::Start(options)) => cmd::node::run(&options, Power::On).await,
            Command::Apply(options) => cmd::apply::run(options).await,
            Command::Delete(options) => cmd::delete::run(options).await,
            Command::EchoServer(options) => cmd::echo::run(options).await,
            Command::Serve(_) => unreachable!("serve makes a runtime of its own"),
        };
        done.map(|()| ExitCode::SUCCESS)
    });
    // A thread that waits for a server's lock must not keep the process alive.
    runtime.shutdown_background();
    done
}
