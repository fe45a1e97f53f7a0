//! An object of the whole cluster is in no namespace.

use kprov::build::*;

fn main() {
    let _ = PriorityClass::new("shop", 1000).namespace("shop");
}
