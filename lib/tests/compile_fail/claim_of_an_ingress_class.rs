//! A class of ingresses is no class of volumes.

use kprov::build::*;

fn main() {
    let ingress = IngressClass::new("fast", "k8s.io/ingress-nginx");
    let _ = PersistentVolumeClaim::new("data", "4Gi").class(&ingress);
}
