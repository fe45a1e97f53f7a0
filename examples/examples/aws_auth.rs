//! Lets the machines with an IAM role join an EKS cluster as nodes, in place of what was said before.
//!
//! `cargo run -p kprov-examples --example aws_auth ROLE_ARN` uses the current context of your kubeconfig.

use kprov::build::*;
use kprov::client::Client;

/// What the cluster's authenticator reads: machines with that IAM role are nodes.
pub fn config_map(role: IamArn) -> ConfigMap {
    AwsAuth::new().nodes(role).into()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let role = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: aws_auth ROLE_ARN"))?;
    Ok(Client::from_default().await?.recreate(&config_map(role.parse()?)).await.map(drop)?)
}
