//! A service with a load balancer.

use kprov::build::*;

/// Leads to the pods of [`super::deployment`]. Its type can't be set in the wrong place: it is part of the type.
pub fn service() -> Service<LoadBalancer> {
    Service::new("alpine-service", [("app", "alpine")]).port(8080, 80).load_balancer()
}
