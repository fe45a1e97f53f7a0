//! A label of DNS has no dots; a constant is checked by the compiler.

use kprov::build::*;

fn main() {
    const NAMESPACE: DnsLabel = DnsLabel::literal("shop.test");
    let _ = NAMESPACE;
}
