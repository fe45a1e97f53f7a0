//! Memory is no processor time.

use kprov::build::*;

fn main() {
    let _ = Container::new("nginx", "nginx:1.27").requests(Bytes::mib(64), Cpu::millis(100));
}
