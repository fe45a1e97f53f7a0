//! An environment variable holds one text.

use kprov::build::*;

fn main() {
    let _ = Container::new("nginx", "nginx:1.27").env("HOSTS", vec!["a", "b"]);
}
