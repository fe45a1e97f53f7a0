//! An address is told by the environment: a file would not follow it.

use kprov::build::*;

fn main() {
    let _ = Volume::downward("info").file("address", Field::PodIp);
}
