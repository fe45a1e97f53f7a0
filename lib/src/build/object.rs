//! What all objects have: a name, a namespace, labels, annotations, owners.

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::text::{DnsLabel, Key, LabelValue, Name, Of};

/// Everything with metadata.
///
/// ```
/// use kprov::build::*;
/// let web = Deployment::new("web", Container::new("nginx", "nginx:1.27"))
///     .namespace("shop")
///     .label("tier", "front")
///     .annotation("example.com/contact", "Ada Lovelace");
/// assert_eq!(web.build().metadata.namespace.as_deref(), Some("shop"));
/// ```
pub trait Object: Resource + Sized {
    /// Its metadata.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Namespace::new("shop").label("team", "shop");
    /// assert_eq!(web.meta().labels.as_ref().unwrap()["team"], "shop");
    /// ```
    fn meta(&self) -> &ObjectMeta;

    /// Its metadata, to change by hand.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let mut report = Job::new("report", Container::new("report", "shop:1"));
    /// report.meta_mut().generate_name = Some("report-".to_owned());
    /// ```
    fn meta_mut(&mut self) -> &mut ObjectMeta;

    /// Its name; empty when it has none yet.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert_eq!(Namespace::new("shop").name(), "shop");
    /// ```
    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Puts it in a namespace.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).namespace("shop");
    /// ```
    #[must_use]
    #[track_caller]
    fn namespace(mut self, namespace: impl Of<DnsLabel>) -> Self
    where
        Self: Namespaced,
    {
        self.meta_mut().namespace = Some(namespace.checked().into());
        self
    }

    /// Adds a label to the object itself, or replaces it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).label("tier", "front");
    /// ```
    #[must_use]
    #[track_caller]
    fn label(mut self, key: impl Of<Key>, value: impl Of<LabelValue>) -> Self {
        self.meta_mut().labels.get_or_insert_default().insert(key.checked().into(), value.checked().into());
        self
    }

    /// Adds an annotation, or replaces it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).annotation("example.com/contact", "Ada Lovelace");
    /// ```
    #[must_use]
    #[track_caller]
    fn annotation(mut self, key: impl Of<Key>, value: impl Into<String>) -> Self {
        self.meta_mut().annotations.get_or_insert_default().insert(key.checked().into(), value.into());
        self
    }

    /// Names who must agree before it is gone.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let shop = ConfigMap::new("shop").finalizer("example.com/backup");
    /// ```
    #[must_use]
    #[track_caller]
    fn finalizer(mut self, finalizer: impl Of<Key>) -> Self {
        self.meta_mut().finalizers.get_or_insert_default().push(finalizer.checked().into());
        self
    }

    /// Makes it go when its owner goes; see [`Object::as_owner`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// // As the server returned it, with its UID.
    /// let parent = ConfigMap::new("parent").edit(|raw| raw.metadata.uid = Some("6a0c2b1e".to_owned()));
    /// let child = Secret::new("child").owner(parent.as_owner().unwrap());
    /// ```
    #[must_use]
    fn owner(mut self, owner: OwnerReference) -> Self {
        self.meta_mut().owner_references.get_or_insert_default().push(owner);
        self
    }

    /// A reference that makes others its dependents; `None` before the server has given it a UID.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80));
    /// assert!(web.as_owner().is_none(), "it has not been sent yet");
    /// ```
    fn as_owner(&self) -> Option<OwnerReference> {
        Some(OwnerReference {
            api_version: Self::API_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            name: self.name().to_owned(),
            uid: self.meta().uid.clone()?,
            ..OwnerReference::default()
        })
    }
}

/// An object that is in a namespace.
///
/// ```
/// # use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).namespace("shop");
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is in no namespace",
    label = "it belongs to the whole cluster",
    note = "leave `namespace(..)` away"
)]
pub trait Namespaced {}

/// What names an object of kind `K`: the object, its k8s-openapi name or a literal.
///
/// ```
/// use kprov::build::*;
/// let settings = ConfigMap::new("settings").file("greeting", "hello");
/// assert_eq!(Volume::config_map(&settings), Volume::config_map("settings"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no `{K}`",
    label = "not a `{K}`",
    note = "give a reference to the `{K}`, a literal name, or a `Name` (`text.parse::<Name>()?`)"
)]
pub trait Named<K> {
    /// The object's name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Service::new("web", [("app", "web")]);
    /// assert_eq!(web.object_name().as_str(), "web");
    /// ```
    #[track_caller]
    fn object_name(self) -> Name;
}

#[diagnostic::do_not_recommend]
impl<K: Object> Named<K> for &K {
    fn object_name(self) -> Name {
        self.name().parse().unwrap_or_else(|error| panic!("{error}"))
    }
}

#[diagnostic::do_not_recommend]
impl<K> Named<K> for &'static str {
    fn object_name(self) -> Name {
        self.checked()
    }
}

#[diagnostic::do_not_recommend]
impl<K> Named<K> for Name {
    fn object_name(self) -> Name {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<K> Named<K> for &Name {
    fn object_name(self) -> Name {
        self.clone()
    }
}

/// Metadata with nothing but a name.
pub(super) fn named(name: Name) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }
}
