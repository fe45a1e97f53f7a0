//! The images of this machine: an OCI layout whose layers are kept unpacked, ready for overlayfs.
//!
//! Folder of a store:
//!
//! ```text
//! oci-layout  index.json       as the OCI image layout says; one entry a name
//! blobs/sha256/<hex>           manifests and configurations, checked by their digest
//! layers/<32 hex>/fs           one unpacked layer, whiteouts in overlayfs' form
//! leases/<owner>/<container>   which image a container uses
//! tmp/                         work in progress; whatever a crash leaves there is swept at the next start
//! lock  import.lock            short changes of the index; long imports
//! ```
//!
//! Any number of processes may use one store. The index is replaced by rename, so readers need no lock.

mod archive;
mod builtin;
mod catalog;
mod layer;
mod manifest;
mod reference;
mod store;

pub use crate::runtime::BUILTIN;
pub use reference::Reference;
pub use store::{Changes, Layers, Removed, Store};

use std::io;
use std::path::{Path, PathBuf};

/// Why images could not be loaded, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference is malformed.
    #[error("couldn't parse image name {0:?}: invalid reference format")]
    InvalidName(String),
    /// What was to be loaded is something else.
    #[error(
        "not an image: {0}. Expected is a tar archive, plain or gzip, as `docker save`, `podman save` or \
         `skopeo copy docker://… docker-archive:…` write it, or an OCI layout in a tar archive"
    )]
    NotAnImage(String),
    /// An archive asks for something that would reach outside of its layer.
    #[error("refused to unpack {path:?}: {why}")]
    Unsafe {
        /// The entry.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Content is not what its digest says.
    #[error("{what} should be {expected} and is {found}: the archive is damaged")]
    Digest {
        /// Which content.
        what: String,
        /// Digest that it should have.
        expected: String,
        /// Digest that it has.
        found: String,
    },
    /// Nothing of this name is here.
    #[error("image {0:?} is not in the store")]
    Missing(String),
    /// Containers use the image.
    #[error("image {image:?} is in use by {}: remove what uses it first", containers.join(", "))]
    InUse {
        /// As asked for.
        image: String,
        /// Owner and id of the containers, such as `node-1/0123…`.
        containers: Vec<String>,
    },
    /// A file of the store can't be understood.
    #[error("{path}: {why}: move the image folder away and load the images again")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The disk said no.
    #[error("{what}")]
    Io {
        /// What was being done, and to what.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Names the file in an error of the disk.
pub(crate) trait At<T> {
    /// `what` is a verb in its base form, such as `write`.
    fn at(self, what: &str, path: impl AsRef<Path>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, what: &str, path: impl AsRef<Path>) -> Result<T, Error> {
        self.map_err(|e| Error::Io { what: format!("can't {what} {}", path.as_ref().display()), source: e.into() })
    }
}
