//! A deployment.

use kprov::build::*;

/// Two web servers. Their label and the selector that finds them are written once.
pub fn deployment() -> Deployment {
    Deployment::new("alpine", Container::new("alpine-ctr", "httpd:alpine")).labelled("app", "alpine").replicas(2)
}
