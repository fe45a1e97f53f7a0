//! An ingress leads to services, not to workloads.

use kprov::build::*;

fn main() {
    let web = Deployment::new("web", Container::new("web", "nginx"));
    let _ = Host::any().path("/", &web);
}
