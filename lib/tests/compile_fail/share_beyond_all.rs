//! A share ends at 100 per cent; a constant is checked by the compiler.

use kprov::build::*;

fn main() {
    const ALL: Percent = Percent::new(150);
    let _ = ALL;
}
