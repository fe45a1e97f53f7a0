//! Lets the machines with an IAM role join an EKS cluster as nodes, in place of what was said before.
//!
//! `cargo run -p kprov-examples --example aws_auth ROLE_ARN` uses the current context of your kubeconfig.

use kprov::client::{Client, ClientError};
use kprov_examples::programs::aws_auth::config_map;

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    let role = std::env::args().nth(1).expect("the first argument is the role: arn:aws:iam::<account>:role/<name>");
    let maps = Client::from_default().await?.in_namespace("kube-system").of();
    maps.delete_if_exists("aws-auth").await?;
    maps.create(&config_map(&role)).await.map(drop)
}
