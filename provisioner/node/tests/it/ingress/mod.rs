//! Ingresses: where requests go, and that they get there.

mod proxy;
mod routes;
