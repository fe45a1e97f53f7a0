//! What Kubernetes objects are, said once: structure, defaults, validation, columns, selectors and patches.
//!
//! Nothing here does IO, reads a clock or knows of tokio. Structure comes from Kubernetes' published schema
//! (`structure`); behaviour is one row a kind in [`KINDS`]. Everything else in the project reads these two.

pub mod canonical;
#[cfg(feature = "cel")]
pub mod cel;
#[cfg(not(feature = "cel"))]
#[path = "no_cel.rs"]
pub(crate) mod cel;
pub mod conditions;
pub mod cron;
pub mod custom;
pub mod decode;
mod depth;
pub mod discovery;
pub mod field_error;
pub mod image;
mod internal;
pub mod key;
pub mod kind;
pub mod managed;
pub mod meta;
pub mod names;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod pod_security;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod reference;
pub mod rules;
pub mod selector;
pub mod status;
pub mod structure;
pub mod table;
pub mod templates;
pub mod version;
pub mod yaml;

pub use key::{Key, Resource, Revision, Uid};
pub use kind::{Column, KINDS, Kind, Rules, Scope, Selectable, Subresource, Typed};
pub use object::Object;
pub use status::{FieldError, Reason, Status};
