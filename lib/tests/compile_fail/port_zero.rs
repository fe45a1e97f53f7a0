//! Ports begin at 1; a constant is checked by the compiler.

use kprov::build::*;

fn main() {
    const HTTP: Port = Port::new(0);
    let _ = HTTP;
}
