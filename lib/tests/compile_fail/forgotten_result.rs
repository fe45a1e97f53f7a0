//! A builder gives back what it made; the old one is gone.
#![deny(unused_must_use)]

use kprov::build::*;

fn main() {
    let web = Deployment::new("web", Container::new("nginx", "nginx:1.27"));
    web.replicas(2);
}
