//! A role of one namespace can't be given in the whole cluster.

use kprov::k8s_openapi::api::core::v1::Pod;
use kprov::build::*;

fn main() {
    let role = Role::new("reader", Rule::on::<Pod>(Verb::READ));
    let _ = ClusterRoleBinding::new("reads", &role, Subject::user("ada"));
}
