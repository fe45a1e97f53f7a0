//! Who may join an EKS cluster as a node.

use kprov::build::*;

/// What the cluster's authenticator reads: machines with that IAM role are nodes.
pub fn config_map(role: &str) -> ConfigMap {
    let roles = format!("- rolearn: {role}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n  groups:\n");
    let roles = roles + "    - system:bootstrappers\n    - system:nodes\n";
    ConfigMap::new("aws-auth").namespace("kube-system").file("mapRoles", roles)
}
