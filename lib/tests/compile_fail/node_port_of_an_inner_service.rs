//! Only services that are reached through nodes have ports on them.

use kprov::build::*;

fn main() {
    let _ = Service::new("web", [("app", "web")]).port(80, 8080).at(30080);
}
