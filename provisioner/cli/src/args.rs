//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use kprov::cluster::Name;

/// Shorter silences happen on a busy machine; longer ones nobody waits for.
const NODE_GRACE: std::ops::RangeInclusive<i64> = 2..=3600;

/// Kubernetes clusters on this machine, with nothing but this program.
///
/// `kprov up` makes a cluster that kubectl and helm use unmodified: API server, controllers, scheduler, nodes with
/// real Linux containers, pod network, services and DNS. `kprov down` leaves nothing of it behind.
#[derive(Debug, Parser)]
#[command(name = "kprov", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring a cluster up, or finish bringing it up
    Up(Up),
    /// Take a cluster down, with everything that belongs to it
    Down(Down),
    /// Show clusters, or one of them with its nodes
    Status(Status),
    /// Print the kubeconfig of a cluster's administrator
    Kubeconfig(Named),
    /// Stop and start nodes of a cluster
    #[command(subcommand)]
    Node(NodeCommand),
    /// Print the JSON schema of the cluster file or of a kind, for editors
    Schema(Schema),
    /// Check manifests as a server would, without one, and tell what was probably meant
    Validate(Validate),
    /// Load, list and remove the container images of a cluster
    #[command(subcommand)]
    Image(ImageCommand),
    Apply(Apply),
    Diff(Diff),
    Delete(Delete),
    /// The server process of a cluster
    #[command(hide = true)]
    Serve(Serve),
    /// The program of the built-in image: answers HTTP with what it sees
    #[command(hide = true)]
    EchoServer(EchoServer),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Named {
    /// Name of the cluster
    #[arg(long, default_value = "kprov")]
    pub(crate) name: Name,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Up {
    /// Cluster file, which says everything about the cluster; `-` reads standard input
    #[arg(short = 'f', long, conflicts_with_all = ["name", "nodes", "simulated", "port", "node_grace"])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) named: Named,
    /// Number of nodes; 0 is a control plane alone [default: as it is, 1 for a new cluster]
    #[arg(long)]
    pub(crate) nodes: Option<u32>,
    /// Pods without processes behind them: needs no root
    #[arg(long)]
    pub(crate) simulated: bool,
    /// Port of the API server on this machine [default: as it is, a free one for a new cluster]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Seconds that a node may be silent before it counts as lost [default: as it is, 50 for a new cluster]
    #[arg(long, value_parser = clap::value_parser!(u32).range(NODE_GRACE))]
    pub(crate) node_grace: Option<u32>,
    /// Deploy a small web application and print the address that it answers on
    #[arg(long)]
    pub(crate) demo: bool,
    /// Print the steps and take none
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Down {
    /// Cluster file that names the cluster; `-` reads standard input
    #[arg(short = 'f', long, conflicts_with = "name")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) named: Named,
    /// Print the steps and take none
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Status {
    /// Name of one cluster; all when left out
    #[arg(long)]
    pub(crate) name: Option<Name>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Stop a node as if its machine lost power: its containers die, its network is gone, its disk stays
    Stop(NodeNamed),
    /// Start a node that was stopped
    Start(NodeNamed),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NodeNamed {
    #[command(flatten)]
    pub(crate) named: Named,
    /// Name of the node, such as node-1
    pub(crate) node: String,
}

/// Manifests to read.
#[derive(Debug, ClapArgs)]
pub(crate) struct Files {
    /// File or folder of manifests; `-` reads standard input
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Read the folders inside of folders as well
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Validate {
    #[command(flatten)]
    pub(crate) files: Files,
    /// How problems are printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Schema {
    /// A kind, such as Deployment or deploy; the cluster file when left out
    pub(crate) kind: Option<String>,
    /// Print a cluster file to begin with, for this provider
    #[arg(long, value_name = "PROVIDER", conflicts_with = "kind")]
    pub(crate) example: Option<String>,
}

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Load a tarball of `docker save` or an OCI layout, plain or gzipped
    Load(ImageLoad),
    /// List the images that pods of a cluster can use
    List(Named),
    /// Remove an image
    Remove(ImageRemove),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ImageLoad {
    #[command(flatten)]
    pub(crate) named: Named,
    /// The tarball; `-` reads standard input
    pub(crate) file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ImageRemove {
    #[command(flatten)]
    pub(crate) named: Named,
    /// Name or id of the image
    pub(crate) image: String,
}

/// Parts of a cluster's server that can run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// The API server, without controllers, scheduler and nodes
    Api,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Folder of the cluster's state
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Name of the cluster
    #[arg(long, default_value = "kprov")]
    pub(crate) name: Name,
    /// Run one part alone
    #[arg(long)]
    pub(crate) only: Option<Only>,
    /// Write the administrator's kubeconfig to this file
    #[arg(long)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Port of the API server on this machine; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Number of nodes
    #[arg(long, default_value_t = 1)]
    pub(crate) nodes: u32,
    /// Pods without processes behind them
    #[arg(long)]
    pub(crate) simulated: bool,
    /// Seconds that a node may be silent before it counts as lost
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(NODE_GRACE))]
    pub(crate) node_grace: u32,
    /// Leave the session that started it, and tell it on standard output when it can be spoken to
    #[arg(long)]
    pub(crate) detached: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EchoServer {
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
}

/// Which cluster, and as whom.
#[derive(Debug, ClapArgs)]
pub(crate) struct Target {
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config, else the pod's service account]
    #[arg(long)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Namespace of objects that name none [default: the context's]
    #[arg(long, short)]
    pub(crate) namespace: Option<String>,
}

/// Apply manifests to a cluster, in the order in which the objects need each other.
///
/// Objects are sent by server-side apply under the field manager `kprov`: namespaces first, then definitions of custom
/// kinds (until they are served), configuration, storage, rights, services, workloads, routes. What is there already and
/// is the same is not written. Run again after a failure or an interruption it finishes what is left.
#[derive(Debug, ClapArgs)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Remember in the cluster, under this name, which objects these manifests made
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Delete what was made under the same name earlier and is not in the manifests any more
    #[arg(long, requires = "name")]
    pub(crate) prune: bool,
    /// Ask the server what would happen, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take over fields that other managers own
    #[arg(long)]
    pub(crate) force_conflicts: bool,
    /// Wait until everything is ready
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
    /// How long to wait, such as `90s`, `5m` or `1h30m`
    #[arg(long, default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
}

/// Show what applying manifests would change; exit with 1 when something would.
///
/// The server is asked by a dry run: its defaults and its checks are in the answer, and nothing is written. Exits with 0
/// when nothing would change, with 1 when something would, and with 2 when it could not be found out.
#[derive(Debug, ClapArgs)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Delete the objects of manifests, in the reverse order of an apply.
///
/// Routes go first and namespaces last. What is gone already is no error.
#[derive(Debug, ClapArgs)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Keep an object until everything that it owns is gone
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Wait until everything is gone
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait, such as `90s`, `5m` or `1h30m`
    #[arg(long, default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
}

/// Reads `90s`, `5m`, `1h30m`; a number alone is seconds.
fn time(text: &str) -> Result<Duration, String> {
    const UNITS: &[(char, u64)] = &[('h', 3600), ('m', 60), ('s', 1)];
    let wrong = || format!("{text:?} is no time: write 90s, 5m or 1h30m");
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut seconds, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let unit = rest[end..].chars().next().and_then(|unit| UNITS.iter().find(|(name, _)| *name == unit));
        let (number, (_, factor)) = (rest[..end].parse::<u64>().map_err(|_| wrong())?, unit.ok_or_else(wrong)?);
        seconds = number.checked_mul(*factor).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
        rest = &rest[end + 1..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use expect_test::expect_file;

    /// The page of a command and those of its own commands, as `--help` prints them.
    fn pages(command: &mut clap::Command, path: &str, text: &mut String) {
        text.push_str(&format!("## {path} --help\n\n{}\n", command.clone().term_width(100).render_long_help()));
        for inner in command.get_subcommands_mut().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
            let path = format!("{path} {}", inner.get_name());
            pages(inner, &path, text);
        }
    }

    #[test]
    fn every_help_page_is_as_published() {
        let mut command = Args::command();
        command.build();
        let mut text = String::new();
        pages(&mut command, "kprov", &mut text);
        expect_file!["../help.txt"].assert_eq(&text);
    }

    #[test]
    fn times_are_read_as_kubectl_reads_them() {
        let cases = [("90s", Some(90)), ("5m", Some(300)), ("1h30m", Some(5400)), ("7", Some(7)), ("0s", Some(0))];
        let wrong = ["", "s", "5x", "1h30", "-1s", "99999999999999999999s"].map(|text| (text, None));
        for (text, seconds) in cases.into_iter().chain(wrong) {
            assert_eq!(time(text).ok(), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn prune_needs_the_name_that_it_prunes_under() {
        let error = Args::try_parse_from(["kprov", "apply", "-f", "a.yaml", "--prune"]).unwrap_err().to_string();
        assert!(error.contains("--name"), "{error}");
    }
}
