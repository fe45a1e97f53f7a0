//! One file a verb.

pub(crate) mod down;
pub(crate) mod echo;
pub(crate) mod image;
pub(crate) mod kubeconfig;
pub(crate) mod node;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod validate;
