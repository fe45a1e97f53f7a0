//! One file a verb.

pub(crate) mod apply;
pub(crate) mod cluster_file;
pub(crate) mod delete;
pub(crate) mod diff;
pub(crate) mod down;
pub(crate) mod echo;
#[cfg(containers)]
pub(crate) mod image;
pub(crate) mod kubeconfig;
pub(crate) mod node;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod validate;

mod objects;
