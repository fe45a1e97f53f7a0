//! The server process of a cluster: control plane and nodes, put together in one place.

mod claims;
pub(crate) mod nodes;
mod objects;

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kprov_control_plane::api::{Config, Server, StartError, User};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::store::Store;
use kprov_control_plane::world::{World, real};
use kprov_control_plane::{controllers, scheduler};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::args::{Only, Serve};
use crate::home::Folder;
use crate::local::{control, process};
use crate::machine::Machine;
use crate::whole;

/// Threads that requests and controllers share.
const THREADS: usize = 2;
/// Open files where the system sets no limit: the most that macOS lets a process ask for (`OPEN_MAX`).
const OPEN_FILES: rlim_t = 10_240;

/// Serves a cluster until it is told to end.
///
/// Errors: what could not be started, and the way out of it.
pub(crate) fn run(options: Serve) -> anyhow::Result<()> {
    // Only a process that leads no group can leave its session; a shell makes it lead one, `kprov up` does not.
    if options.detached {
        nix::unistd::setsid().context("leaving the session")?;
    }
    init_log();
    allow_many_connections()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let served = runtime.block_on(serve(options));
    // A task that is blocked in the kernel must not keep the process alive.
    runtime.shutdown_background();
    served
}

/// A connection is a file, and the usual limit is low for the sake of programs that this is none of.
fn allow_many_connections() -> anyhow::Result<()> {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of open files")?;
    // Where there is no limit a system may still refuse to have none.
    let wanted = if most == RLIM_INFINITY { now.max(OPEN_FILES) } else { most };
    setrlimit(Resource::RLIMIT_NOFILE, wanted, most).context("raising the limit of open files")
}

fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KPROV_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
}

async fn serve(options: Serve) -> anyhow::Result<()> {
    let folder = Folder::at(&options.data)?;
    folder.make()?;
    let _held = process::hold(&folder)?;
    let (ready, readiness) = watch::channel(false);
    let socket = control::bind(&folder.socket())?;
    let (orders, mut ordered) = control::orders();
    let control = tokio::spawn(control::serve(socket, readiness, orders));
    if options.detached {
        let mut out = std::io::stdout();
        out.write_all(process::LISTENING.as_bytes()).and_then(|()| out.flush()).context("telling who started us")?;
        // Who started us waits for the end of this pipe.
        nix::unistd::dup2_stdout(fs::File::options().write(true).open("/dev/null")?)?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut cluster = Cluster::start(&options, &folder).await?;
    ready.send_replace(true);
    tracing::info!(url = cluster.url(), "ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = control => anyhow::bail!("the control socket broke: {ended:?}"),
        () = cluster.obey(&mut ordered) => {}
    }
    tracing::info!("ending; containers go on");
    cluster.stop().await;
    Ok(())
}

/// Everything that runs in a server.
struct Cluster {
    server: Arc<Server>,
    store: Store,
    /// In the order in which they stop.
    nodes: Option<nodes::Nodes>,
    scheduler: Option<scheduler::Scheduler>,
    controllers: Option<controllers::Controllers>,
    claims: Option<claims::Reclaiming>,
}

impl Cluster {
    async fn start(options: &Serve, folder: &Folder) -> anyhow::Result<Self> {
        let world = real::world(folder.path());
        let alone = options.only == Some(Only::Api);
        let has_network = !alone && options.nodes > 0 && !options.simulated;
        let machine = has_network.then(|| Machine::open(&options.name, folder, &world)).transpose()?;
        let host = machine.as_ref().map_or(Ipv4Addr::LOCALHOST, Machine::host);
        let config = config(options, host);
        let store = Store::open(&world, Path::new("store.redb")).context("opening the store")?;
        let pki = Pki::open_or_create(&folder.path().join("pki"), &config.names(), &world)?;
        let authority = pki.authority().to_owned();
        let server = Server::start(config, world.clone(), store.clone(), Arc::new(pki)).await.map_err(with_way_out)?;
        let server = Arc::new(server);
        if let Some(text) = server.kubeconfig() {
            let write = |path: &Path| {
                whole::write(path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))
            };
            write(&folder.kubeconfig())?;
            options.kubeconfig.as_deref().map_or(Ok(()), write)?;
        }
        let mut cluster = Self { server, store, nodes: None, scheduler: None, controllers: None, claims: None };
        if !alone {
            let grace = Duration::from_secs(options.node_grace.into());
            let config =
                controllers::Config { node_grace: grace, nodes: folder.nodes(), ..controllers::Config::new(authority) };
            cluster.start_components(&world, config).await?;
            let nodes = nodes::Nodes::start(options, folder, &world, &cluster.server, machine).await?;
            cluster.nodes = Some(nodes);
        }
        Ok(cluster)
    }

    async fn start_components(&mut self, world: &World, config: controllers::Config) -> anyhow::Result<()> {
        let client = self.server.client(User::component("system:kube-controller-manager"));
        objects::make(&client).await.context("making what every cluster begins with")?;
        self.claims = Some(claims::Reclaiming::start(&client, world, config.nodes.clone()));
        self.controllers = Some(controllers::start(&client, world, &config));
        let client = self.server.client(User::component("system:kube-scheduler"));
        self.scheduler = Some(scheduler::start(&client, world));
        Ok(())
    }

    /// Carries out orders as they come, one after the other.
    async fn obey(&mut self, orders: &mut mpsc::Receiver<control::Order>) {
        while let Some(order) = orders.recv().await {
            let done = match &mut self.nodes {
                Some(nodes) => nodes.turn(&order.node, order.power).await,
                None => Err(anyhow::anyhow!(
                    "there is no node {}: this server has none, `kprov up --nodes 1` adds one",
                    order.node
                )),
            };
            if let Err(error) = &done {
                tracing::warn!(node = order.node, error = format!("{error:#}"), "an order failed");
            }
            // A client that went away does not need to know.
            order.answer.send(done.map_err(|error| format!("{error:#}"))).ok();
        }
    }

    fn url(&self) -> String {
        self.server.address().map(|address| format!("https://{address}")).unwrap_or_default()
    }

    async fn stop(mut self) {
        if let Some(nodes) = self.nodes.take() {
            nodes.stop();
        }
        self.scheduler = None;
        self.controllers = None;
        self.claims = None;
        match Arc::try_unwrap(self.server) {
            Ok(server) => server.shutdown().await,
            Err(_) => tracing::warn!("the API server is still in use while it ends"),
        }
        // A store that was closed opens at once; one that was not is checked and written anew.
        self.store.close().await;
    }
}

fn with_way_out(error: StartError) -> anyhow::Error {
    match error {
        StartError::Listen { .. } => {
            anyhow::anyhow!("{error}: end what listens there, or choose another port with `kprov up --port`")
        }
        other => other.into(),
    }
}

fn config(options: &Serve, host: Ipv4Addr) -> Config {
    let local = Ipv4Addr::LOCALHOST;
    let mut listen = vec![SocketAddr::from((local, options.port))];
    if host != local {
        listen.push(SocketAddr::from((host, options.port)));
    }
    Config { listen, advertise: IpAddr::V4(host), name: options.name.to_string(), ..Config::default() }
}
