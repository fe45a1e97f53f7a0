//! Only cluster roles have rights on paths that are no objects.

use kprov::build::*;

fn main() {
    let _ = Role::new("metrics", Urls::new(["/metrics"], [Verb::Get]));
}
