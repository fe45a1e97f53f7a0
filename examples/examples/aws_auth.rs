//! Lets the machines with an IAM role join an EKS cluster as nodes, in place of what was said before.
//!
//! `cargo run -p kprov-examples --example aws_auth ROLE_ARN` uses the current context of your kubeconfig.

use kprov::build::*;
use kprov::client::Client;

/// What the cluster's authenticator reads: machines with that IAM role are nodes.
pub fn config_map(role: &str) -> ConfigMap {
    let roles = format!("- rolearn: {role}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n  groups:\n");
    let roles = roles + "    - system:bootstrappers\n    - system:nodes\n";
    ConfigMap::new("aws-auth").namespace("kube-system").file("mapRoles", roles)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let role = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: aws_auth ROLE_ARN"))?;
    let maps = Client::from_default().await?.in_namespace("kube-system").of();
    maps.delete_if_exists("aws-auth").await?;
    Ok(maps.create(&config_map(&role)).await.map(drop)?)
}
