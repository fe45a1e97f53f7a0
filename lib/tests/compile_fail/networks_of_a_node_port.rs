//! Only a load balancer looks at the networks that clients come from.

use kprov::build::*;

fn main() {
    let _ = Service::new("web", [("app", "web")]).port(80, 8080).node_port().from_network("10.0.0.0/8");
}
