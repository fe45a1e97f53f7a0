//! A web application as Rust: described, checked, applied and awaited.
//!
//! `cargo run -p kprov-examples --example web` uses the current context of your kubeconfig.

use kprov::Bundle;
use kprov::build::*;
use kprov::client::Client;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "nginx".to_owned()).parse()?;
    let app = application(image);
    if let Err(problems) = app.validate() {
        problems.iter().for_each(|problem| eprintln!("{problem}"));
        anyhow::bail!("the server would refuse {} objects", problems.len());
    }
    let client = Client::from_default().await?;
    client.apply(&app).await?;
    client.ready(&app, std::time::Duration::from_secs(60)).await?;
    println!("web is ready");
    Ok(())
}

fn application(image: Image) -> Bundle {
    let settings = ConfigMap::new("settings").file("greeting", "hello");
    let container = Container::new("web", image)
        .port("http", 8080)
        .env("GREETING", settings.key("greeting"))
        .env("POD_IP", Field::PodIp)
        .requests("50m", "32Mi")
        .limits("500m", "128Mi");
    let web = Deployment::new("web", container).replicas(2).label("tier", "front");
    let mut app = Bundle::new("web");
    app.add(settings).add(web.expose("http")).add(web);
    app
}
