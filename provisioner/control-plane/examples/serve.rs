//! Serves the API server alone, over a folder: `serve <folder> <address>`; writes `<folder>/kubeconfig`.

use std::path::PathBuf;
use std::sync::Arc;

use kprov_control_plane::api::{Config, Server};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::store::Store;
use kprov_control_plane::world::real;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a folder")?);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    std::fs::create_dir_all(&folder)?;
    let world = real::world(&folder);
    let config = Config { listen: vec![address.parse()?], ..Config::default() };
    let pki = Arc::new(Pki::open_or_create(&folder.join("pki"), &config.names(), &world)?);
    let store = Store::open(&world, "state.redb")?;
    let server = Server::start(config, world, store, pki).await?;
    std::fs::write(folder.join("kubeconfig"), server.kubeconfig().ok_or("it listens")?)?;
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
