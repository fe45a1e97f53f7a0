//! A web application as Rust: described, checked, applied and awaited.
//!
//! `cargo run -p kprov-examples --example web` uses the current context of your kubeconfig.

use kprov::Bundle;
use kprov::build::{ConfigMap, Container, Deployment, Env};
use kprov::client::Client;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "nginx".to_owned());
    let app = application(&image);
    if let Err(problems) = app.validate() {
        problems.iter().for_each(|problem| eprintln!("{problem}"));
        anyhow::bail!("the server would refuse {} objects", problems.len());
    }
    let client = Client::from_default().await?;
    client.apply(&app).await?;
    client.deployment_ready("web").await?;
    println!("web is ready");
    Ok(())
}

fn application(image: &str) -> Bundle {
    let settings = ConfigMap::new("settings").file("greeting", "hello");
    let greeting = Env::ConfigMap { name: "settings".to_owned(), key: "greeting".to_owned() };
    let container = Container::new("web", image)
        .port("http", 8080)
        .env("GREETING", greeting)
        .env("POD_IP", Env::Field("status.podIP"))
        .requests("50m", "32Mi")
        .limits("500m", "128Mi");
    let web = Deployment::new("web").replicas(2).label("tier", "front").container(container);
    let mut app = Bundle::new("web");
    app.add(settings.build()).add(web.build()).add(web.expose("http").build());
    app
}
