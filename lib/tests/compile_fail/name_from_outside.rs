//! Text from outside is parsed before it becomes a name.

use kprov::build::*;

fn main() {
    let name = String::from("web");
    let _ = Deployment::new(name, Container::new("nginx", "nginx:1.27"));
}
