//! Tests of the node's rooms against the real kernel. They need root.

mod net;
