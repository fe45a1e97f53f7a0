//! Runnable programs that use kprov: see `examples/`.
