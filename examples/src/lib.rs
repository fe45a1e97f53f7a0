//! Runnable programs that use kprov: see `examples/`; the manifests of the Kubernetes tutorials as programs too.

pub mod tutorials;
