//! A pod on its own.

use kprov::build::*;

/// One container, and nobody who brings it back when its node is lost.
pub fn pod() -> Pod {
    Pod::new("naked-pod-demo", Container::new("naked-pod-demo-ctr", "nginx"))
}
