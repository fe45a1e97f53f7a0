//! Storage: claims, the volumes that they are bound to, and the classes that volumes are made by.

mod claim;
mod class;
mod volume;

pub use claim::PersistentVolumeClaim;
pub use class::StorageClass;
pub use volume::{PersistentVolume, Source};

/// Who may have a volume at once, and what they may do with it.
///
/// ```
/// use kprov::build::*;
/// let shared = PersistentVolumeClaim::new("shared", "4Gi").access(Access::ReadWriteMany);
/// ```
/// Source: <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// One node, for reading and writing.
    ReadWriteOnce,
    /// Many nodes, for reading.
    ReadOnlyMany,
    /// Many nodes, for reading and writing.
    ReadWriteMany,
    /// One pod, for reading and writing.
    ReadWriteOncePod,
}

/// What becomes of a volume when its claim goes.
///
/// ```
/// use kprov::build::*;
/// let kept = StorageClass::new("kept", "ebs.csi.aws.com").reclaim(Reclaim::Retain);
/// ```
/// Source: <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reclaiming>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// It stays, with what is in it, until somebody looks after it.
    Retain,
    /// It goes, with what is in it.
    Delete,
}

macro_rules! text_of {
    ($($name:ident),*) => {$(
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                format!("{value:?}")
            }
        }
    )*};
}
text_of!(Access, Reclaim);
