//! An ingress has at least one host with its paths.

use kprov::build::*;

fn main() {
    let _ = Ingress::new("shop");
}
