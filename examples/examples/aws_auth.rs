//! Lets the machines with an IAM role join an EKS cluster as nodes, in place of what was said before.
//!
//! `cargo run -p kprov-examples --example aws_auth ROLE_ARN` uses the current context of your kubeconfig.

use kprov::client::Client;
use kprov_examples::programs::aws_auth::config_map;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let role = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: aws_auth ROLE_ARN"))?;
    let maps = Client::from_default().await?.in_namespace("kube-system").of();
    maps.delete_if_exists("aws-auth").await?;
    Ok(maps.create(&config_map(&role)).await.map(drop)?)
}
