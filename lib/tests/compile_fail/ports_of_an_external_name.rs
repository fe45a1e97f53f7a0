//! An external name has no ports: it leads elsewhere by DNS alone.

use kprov::build::*;

fn main() {
    let _ = Service::external_name("db", "db.example.com").port(5432, 5432);
}
