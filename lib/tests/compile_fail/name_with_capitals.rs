//! A constant name is checked by the compiler.

use kprov::build::*;

fn main() {
    const WEB: Name = Name::literal("Web_1");
    let _ = WEB;
}
