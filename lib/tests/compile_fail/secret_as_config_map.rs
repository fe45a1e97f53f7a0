//! A secret is no config map.

use kprov::build::*;

fn main() {
    let db = Secret::new("db");
    let _ = Volume::config_map(&db);
}
