//! Where objects live on a server: the path of a kind, from the published facts or from what the server tells.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kprov_schema::Object;
use kprov_schema::structure::schema;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::Client;
use super::error::ClientError;

/// Which object: kind, namespace and name.
///
/// ```
/// use kprov::client::Id;
///
/// let web = Id {
///     api_version: "apps/v1".to_owned(),
///     kind: "Deployment".to_owned(),
///     namespace: "shop".to_owned(),
///     name: "web".to_owned(),
/// };
/// assert_eq!((web.group(), web.to_string().as_str()), ("apps", "Deployment shop/web"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// `apiVersion`, such as `apps/v1`.
    pub api_version: String,
    /// `kind`, such as `Deployment`.
    pub kind: String,
    /// Namespace, empty for kinds of the whole cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

impl Id {
    /// The group of its kind, empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Which object it is in whatever version it is spoken of: group, kind, namespace and name.
    pub(super) fn thing(&self) -> (String, String, String, String) {
        (self.group().to_owned(), self.kind.clone(), self.namespace.clone(), self.name.clone())
    }
}

/// A kind as the server has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) namespaced: bool,
    /// Whether its objects have a status; `None` when that is not known.
    pub(super) has_status: Option<bool>,
}

impl Place {
    /// The path of its objects in a namespace; `None` is all of them.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let prefix = if self.api_version.contains('/') { "apis" } else { "api" };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("/{prefix}/{}/namespaces/{namespace}/{}", self.api_version, self.plural),
            None => format!("/{prefix}/{}/{}", self.api_version, self.plural),
        }
    }

    pub(super) fn resource(&self) -> ApiResource {
        let (group, version) = split(&self.api_version);
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &self.kind), &self.plural)
    }

    /// What the published facts say of a kind.
    pub(super) fn published(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = split(api_version);
        let served = schema().served(group, version, kind)?;
        let status = served.structure.field("status").is_some();
        Some(Self::new(api_version, kind, served.plural, served.namespaced, Some(status)))
    }

    fn new(api_version: &str, kind: &str, plural: &str, namespaced: bool, has_status: Option<bool>) -> Self {
        let (api_version, kind, plural) = (api_version.to_owned(), kind.to_owned(), plural.to_owned());
        Self { api_version, kind, plural, namespaced, has_status }
    }

    /// What a server's list of resources says of a kind.
    fn listed(list: &Value, api_version: &str, kind: &str) -> Option<Self> {
        let resources = list["resources"].as_array()?;
        let named = |resource: &&Value| {
            resource["kind"] == kind && resource["name"].as_str().is_some_and(|name| !name.contains('/'))
        };
        let found = resources.iter().find(named)?;
        let plural = found["name"].as_str()?;
        Some(Self::new(api_version, kind, plural, found["namespaced"] == true, None))
    }
}

/// Group and version of an `apiVersion`.
fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// What servers told of kinds that are not published. What is not served is not remembered: it may come.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<(String, String), Place>>>);

impl Client {
    /// Where objects of a kind live.
    pub(super) async fn place(&self, api_version: &str, kind: &str) -> Result<Place, ClientError> {
        if let Some(place) = Place::published(api_version, kind) {
            return Ok(place);
        }
        let key = (api_version.to_owned(), kind.to_owned());
        let known = self.places.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(place) = known {
            return Ok(place);
        }
        let place = self.discover(api_version, kind).await?;
        self.places.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, place.clone());
        Ok(place)
    }

    async fn discover(&self, api_version: &str, kind: &str) -> Result<Place, ClientError> {
        let unknown = || ClientError::UnknownKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            peer: self.peer().clone(),
        };
        if api_version.is_empty() || kind.is_empty() {
            return Err(unknown());
        }
        let prefix = if api_version.contains('/') { "apis" } else { "api" };
        match self.read(&format!("find kind {kind} of {api_version}"), &format!("/{prefix}/{api_version}")).await {
            Ok(list) => Place::listed(&list, api_version, kind).ok_or_else(unknown),
            Err(error) if error.is_not_found() => Err(unknown()),
            Err(error) => Err(error),
        }
    }

    /// The version in which the server prefers to speak of a group; `None` when it does not serve the group.
    pub(super) async fn preferred(&self, group: &str) -> Result<Option<String>, ClientError> {
        if group.is_empty() {
            return Ok(Some("v1".to_owned()));
        }
        match self.read(&format!("find group {group}"), &format!("/apis/{group}")).await {
            Ok(found) => Ok(found["preferredVersion"]["groupVersion"].as_str().map(str::to_owned)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which object it is and where it lives; the client's own namespace stands for one that is left out.
    pub(super) async fn locate(&self, object: &Object) -> Result<(Id, Place), ClientError> {
        let place = self.place(object.api_version(), object.kind()).await?;
        let namespace = match (place.namespaced, object.namespace()) {
            (false, _) => "",
            (true, "") => self.default_namespace(),
            (true, namespace) => namespace,
        };
        let id = Id {
            api_version: place.api_version.clone(),
            kind: place.kind.clone(),
            namespace: namespace.to_owned(),
            name: object.name().to_owned(),
        };
        Ok((id, place))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_published_and_of_listed_kinds() {
        let place = |api_version, kind| Place::published(api_version, kind).unwrap();
        assert_eq!(place("v1", "Pod").path(Some("a")), "/api/v1/namespaces/a/pods");
        assert_eq!(place("v1", "Namespace").path(Some("a")), "/api/v1/namespaces");
        assert_eq!(place("networking.k8s.io/v1", "Ingress").path(None), "/apis/networking.k8s.io/v1/ingresses");
        assert_eq!((place("v1", "ConfigMap").has_status, place("v1", "Pod").has_status), (Some(false), Some(true)));
        let list = json!({"resources": [
            {"name": "widgets/status", "kind": "Widget", "namespaced": true},
            {"name": "widgets", "kind": "Widget", "namespaced": true},
        ]});
        let widget = Place::listed(&list, "example.com/v1", "Widget").unwrap();
        assert_eq!(widget.path(Some("a")), "/apis/example.com/v1/namespaces/a/widgets");
        assert_eq!(Place::listed(&list, "example.com/v1", "Gadget"), None);
    }
}
