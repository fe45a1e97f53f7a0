//! A container needs an image.

use kprov::build::*;

fn main() {
    let _ = Container::new("nginx");
}
