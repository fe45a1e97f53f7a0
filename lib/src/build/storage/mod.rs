//! Storage: claims, the volumes that they are bound to, and the classes that volumes are made by.

mod claim;
mod class;
mod volume;

pub use claim::PersistentVolumeClaim;
pub use class::StorageClass;
pub use volume::{PersistentVolume, Source};

use super::object::Named;

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

/// What a claim asks for and a volume offers.
///
/// ```
/// use kprov::build::*;
/// let shared = PersistentVolumeClaim::new("shared", "4Gi").access(Access::ReadWriteMany).class("nfs");
/// let share = PersistentVolume::new("share", "1Ti", Source::nfs("10.0.0.7", "/exports"))
///     .access(Access::ReadWriteMany)
///     .class("nfs");
/// let raw = PersistentVolumeClaim::new("raw", "100Gi").block();
/// ```
pub trait Storage: Sized {
    /// The fields that say it, to change by hand.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let mut data = PersistentVolumeClaim::new("data", "4Gi");
    /// *data.terms_mut().mode = Some("Filesystem".to_owned());
    /// ```
    fn terms_mut(&mut self) -> Terms<'_>;

    /// Who may have it at once, in place of one node.
    #[must_use]
    fn access(mut self, access: Access) -> Self {
        *self.terms_mut().access_modes = Some(vec![access.into()]);
        self
    }

    /// Of that class: claims and volumes of different classes do not fit.
    #[must_use]
    #[track_caller]
    fn class(mut self, class: impl Named<StorageClass>) -> Self {
        *self.terms_mut().class = Some(class.object_name().into());
        self
    }

    /// As a raw device, without a file system.
    #[must_use]
    fn block(mut self) -> Self {
        *self.terms_mut().mode = Some("Block".to_owned());
        self
    }
}

/// The fields of a [`Storage`], of whatever object they are.
///
/// ```
/// # use kprov::build::*;
/// let mut data = PersistentVolumeClaim::new("data", "4Gi").access(Access::ReadWriteMany);
/// let Terms { access_modes, class, mode } = data.terms_mut();
/// assert_eq!((access_modes.as_deref(), class, mode), (Some(&["ReadWriteMany".to_owned()][..]), &mut None, &mut None));
/// ```
#[derive(Debug)]
pub struct Terms<'a> {
    /// Who may have it at once.
    pub access_modes: &'a mut Option<Vec<String>>,
    /// Name of the class; empty is none.
    pub class: &'a mut Option<String>,
    /// `Filesystem` or `Block`.
    pub mode: &'a mut Option<String>,
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
