//! A claim, and a deployment that mounts it.

use kprov::Bundle;
use kprov::build::*;

/// Both. The volume between them is made by the mount, and applying them sends the claim first.
pub fn application() -> Bundle {
    let claim = PersistentVolumeClaim::new("my-pvc", "32Gi");
    let container = Container::new("alpine-ctr", "httpd:alpine").mount(&claim, "/test");
    let mut application = Bundle::new("pvc-test");
    application.add(Deployment::new("pvc-test", container).labelled("app", "alpine").replicas(1)).add(claim);
    application
}
