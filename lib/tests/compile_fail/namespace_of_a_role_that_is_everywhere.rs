//! A cluster role is in no namespace.

use kprov::build::*;

fn main() {
    let _ = ClusterRole::new("metrics", Urls::new(["/metrics"], [Verb::Get])).namespace("shop");
}
