//! Single objects of one kind: created, read, listed, replaced and deleted; the verbs once for all kinds.

use std::marker::PhantomData;

use kprov_schema::Object;
use kube::api::{DeleteParams, GetParams, ListParams, PostParams};
use kube::core::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ClientError;
use super::place::{Id, Place};
use super::{Client, MANAGER};

/// Objects of one kind in the client's namespace (or in the whole cluster, for kinds that have none).
///
/// `T` is a `k8s-openapi` struct, or [`Object`] for kinds that are only known when the program runs.
///
/// ```no_run
/// use kprov::client::Client;
/// use kprov::k8s_openapi::api::core::v1::ConfigMap;
///
/// # async fn doc(cluster: Client, auth: ConfigMap) -> Result<(), kprov::client::ClientError> {
/// let maps = cluster.in_namespace("kube-system").of::<ConfigMap>();
/// maps.delete_if_exists("aws-auth").await?;
/// maps.create(&auth).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Objects<T> {
    client: Client,
    api_version: String,
    kind: String,
    of: PhantomData<fn() -> T>,
}

/// Single objects, by the type of their kind or by its name.
///
/// ```
/// use kprov::client::{Client, ClientError};
/// use kprov::k8s_openapi::api::core::v1::Pod;
///
/// async fn copy(cluster: &Client) -> Result<(), ClientError> {
///     let web: Pod = cluster.get("web").await?;
///     let all: Vec<Pod> = cluster.list().await?;
///     let pods = cluster.of::<Pod>().list("app=web").await?;
///     let widgets = cluster.of_kind("example.com/v1", "Widget").list("").await?;
///     let mut other = Pod { spec: web.spec, ..Pod::default() };
///     other.metadata.name = Some("web-2".to_owned());
///     cluster.create(&other).await?;
///     Ok(())
/// }
/// ```
impl Client {
    /// Objects of a kind that is a type.
    #[must_use]
    pub fn of<K: k8s_openapi::Resource + Serialize + DeserializeOwned>(&self) -> Objects<K> {
        Objects {
            client: self.clone(),
            api_version: K::API_VERSION.to_owned(),
            kind: K::KIND.to_owned(),
            of: PhantomData,
        }
    }

    /// Objects of a kind by its name, such as `of_kind("example.com/v1", "Widget")`; custom kinds are looked up on the
    /// server.
    #[must_use]
    pub fn of_kind(&self, api_version: impl Into<String>, kind: impl Into<String>) -> Objects<Object> {
        Objects { client: self.clone(), api_version: api_version.into(), kind: kind.into(), of: PhantomData }
    }

    /// Creates an object. Short for `of::<K>().create(..)`.
    pub async fn create<K>(&self, object: &K) -> Result<K, ClientError>
    where
        K: k8s_openapi::Resource + Serialize + DeserializeOwned,
    {
        self.of::<K>().create(object).await
    }

    /// Puts an object in place of the one of its name. Short for `of::<K>().recreate(..)`.
    ///
    /// ```no_run
    /// # async fn doc(cluster: kprov::client::Client) -> Result<(), kprov::client::ClientError> {
    /// use kprov::build::*;
    /// let nodes = AwsAuth::new().nodes("arn:aws:iam::012345678901:role/nodes");
    /// cluster.recreate(&ConfigMap::from(nodes)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recreate<K>(&self, object: &K) -> Result<K, ClientError>
    where
        K: k8s_openapi::Resource + Serialize + DeserializeOwned,
    {
        self.of::<K>().recreate(object).await
    }

    /// Reads an object. Short for `of::<K>().get(..)`.
    pub async fn get<K>(&self, name: &str) -> Result<K, ClientError>
    where
        K: k8s_openapi::Resource + Serialize + DeserializeOwned,
    {
        self.of::<K>().get(name).await
    }

    /// Lists all objects. Short for `of::<K>().list("")`.
    pub async fn list<K>(&self) -> Result<Vec<K>, ClientError>
    where
        K: k8s_openapi::Resource + Serialize + DeserializeOwned,
    {
        self.of::<K>().list("").await
    }

    /// Reads one object as it is, `None` when it is not there.
    pub(super) async fn live(&self, id: &Id, place: &Place) -> Result<Option<Object>, ClientError> {
        let doing = format!("read {id}");
        let request = Request::new(place.path(Some(&id.namespace))).get(&id.name, &GetParams::default());
        let request = request.map_err(|error| self.failed(&doing, kube::Error::BuildRequest(error)))?;
        match self.send(&doing, request).await {
            Ok(answer) => answer.object(&doing).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists objects with a label selector, page by page.
    pub(super) async fn all(
        &self,
        place: &Place,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Object>, ClientError> {
        let doing = format!("list {}", place.kind);
        let path = Request::new(place.path(namespace));
        let mut found = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        page.label_selector = (!labels.is_empty()).then(|| labels.to_owned());
        loop {
            let request = path.list(&page).map_err(|error| self.failed(&doing, kube::Error::BuildRequest(error)))?;
            let mut list = self.send(&doing, request).await?.body;
            let next = list["metadata"]["continue"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
            let Value::Array(items) = list["items"].take() else {
                return Err(ClientError::Object { object: doing, why: "the answer is no list".to_owned() });
            };
            for item in items {
                let mut object =
                    Object::try_from(item).map_err(|why| ClientError::Object { object: doing.clone(), why })?;
                // Items of a list leave out what the list says once.
                object.set(&["apiVersion"], Value::from(place.api_version.as_str()));
                object.set(&["kind"], Value::from(place.kind.as_str()));
                found.push(object);
            }
            if next.is_none() {
                return Ok(found);
            }
            page.continue_token = next;
        }
    }
}

/// How many objects a page of a list has.
const PAGE: u32 = 500;

/// The verbs.
///
/// ```
/// use kprov::client::{ClientError, Objects};
/// use kprov::k8s_openapi::api::core::v1::ConfigMap;
///
/// async fn rename(maps: &Objects<ConfigMap>) -> Result<(), ClientError> {
///     let everywhere = maps.list_everywhere("team=shop").await?;
///     let ours = maps.list("team=shop").await?;
///     let mut settings = maps.get("settings").await?;
///     settings.data.get_or_insert_default().insert("LEVEL".to_owned(), "debug".to_owned());
///     let settings = maps.replace(&settings).await?;
///     if maps.get_if_exists("old-settings").await?.is_some() {
///         maps.delete("old-settings").await?;
///     }
///     Ok(())
/// }
/// ```
impl<T: Serialize + DeserializeOwned> Objects<T> {
    /// Creates an object and returns it as the server made it.
    ///
    /// Errors: [`ClientError::Api`] with code 409 and reason `AlreadyExists`, or 422 and `Invalid`, ...
    pub async fn create(&self, object: &T) -> Result<T, ClientError> {
        let (id, place, object) = self.located(object).await?;
        let doing = format!("create {id}");
        let path = Request::new(place.path(Some(&id.namespace)));
        let request = path.create(&by_us(), body(&object));
        self.typed(&doing, request).await
    }

    /// Reads an object.
    ///
    /// Errors: [`ClientError::Api`] with code 404 when it is not there.
    pub async fn get(&self, name: &str) -> Result<T, ClientError> {
        let (doing, path) = self.named("read", name).await?;
        self.typed(&doing, path.get(name, &GetParams::default())).await
    }

    /// Reads an object that may not be there.
    pub async fn get_if_exists(&self, name: &str) -> Result<Option<T>, ClientError> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists objects, those with labels (`app=web,tier!=db`) or all of them (an empty selector).
    pub async fn list(&self, labels: &str) -> Result<Vec<T>, ClientError> {
        let place = self.place().await?;
        let found = self.client.all(&place, Some(self.client.default_namespace()), labels).await?;
        found.into_iter().map(|object| read(&format!("list {}", self.kind), object.into())).collect()
    }

    /// The same in all namespaces.
    pub async fn list_everywhere(&self, labels: &str) -> Result<Vec<T>, ClientError> {
        let found = self.client.all(&self.place().await?, None, labels).await?;
        found.into_iter().map(|object| read(&format!("list {}", self.kind), object.into())).collect()
    }

    /// Replaces an object as a whole. With its `resourceVersion` in it, only if nobody wrote it in between.
    ///
    /// Errors: [`ClientError::Api`] with code 404, or with 409 and reason `Conflict`.
    pub async fn replace(&self, object: &T) -> Result<T, ClientError> {
        let (id, place, object) = self.located(object).await?;
        let doing = format!("replace {id}");
        let path = Request::new(place.path(Some(&id.namespace)));
        let request = path.replace(&id.name, &by_us(), body(&object));
        self.typed(&doing, request).await
    }

    /// Puts an object in place of the one of its name: what is there is deleted first, with all that others wrote into it.
    ///
    /// Errors: those of [`create`](Self::create); `AlreadyExists` also while the old one takes its time to go, as a pod does.
    ///
    /// ```no_run
    /// # async fn doc(maps: kprov::client::Objects<kprov::build::ConfigMap>) -> Result<(), kprov::client::ClientError> {
    /// let map = kprov::build::ConfigMap::new("settings").file("LEVEL", "info");
    /// maps.recreate(&map).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recreate(&self, object: &T) -> Result<T, ClientError> {
        let (id, ..) = self.located(object).await?;
        let client = self.client.clone().in_namespace(&id.namespace);
        client.of_kind(&self.api_version, &self.kind).delete_if_exists(&id.name).await?;
        self.create(object).await
    }

    /// Deletes an object, and in the background what it owns.
    ///
    /// Errors: [`ClientError::Api`] with code 404 when it is not there.
    pub async fn delete(&self, name: &str) -> Result<(), ClientError> {
        let (doing, path) = self.named("delete", name).await?;
        let request = path.delete(name, &DeleteParams::background());
        let request = request.map_err(|error| self.client.failed(&doing, kube::Error::BuildRequest(error)))?;
        self.client.send(&doing, request).await.map(drop)
    }

    /// Deletes an object if it is there, and says whether it was.
    pub async fn delete_if_exists(&self, name: &str) -> Result<bool, ClientError> {
        match self.delete(name).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn place(&self) -> Result<Place, ClientError> {
        self.client.place(&self.api_version, &self.kind).await
    }

    async fn named(&self, verb: &str, name: &str) -> Result<(String, Request), ClientError> {
        let place = self.place().await?;
        let namespace = if place.namespaced { self.client.default_namespace() } else { "" };
        let id = Id {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Ok((format!("{verb} {id}"), Request::new(place.path(Some(namespace)))))
    }

    async fn located(&self, object: &T) -> Result<(Id, Place, Object), ClientError> {
        let about = |why: String| ClientError::Object { object: self.kind.clone(), why };
        let value = serde_json::to_value(object).map_err(|error| about(error.to_string()))?;
        let mut object = Object::try_from(value).map_err(about)?;
        object.set(&["apiVersion"], Value::from(self.api_version.as_str()));
        object.set(&["kind"], Value::from(self.kind.as_str()));
        let (id, place) = self.client.locate(&object).await?;
        Ok((id, place, object))
    }

    async fn typed(
        &self,
        doing: &str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, ClientError> {
        let request = request.map_err(|error| self.client.failed(doing, kube::Error::BuildRequest(error)))?;
        read(doing, self.client.send(doing, request).await?.body)
    }
}

fn read<T: DeserializeOwned>(doing: &str, value: Value) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|error| ClientError::Object {
        object: doing.to_owned(),
        why: format!("the answer does not fit the type: {error}"),
    })
}

fn by_us() -> PostParams {
    PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) }
}

pub(super) fn body(object: &Object) -> Vec<u8> {
    serde_json::to_vec(object.map()).expect("a JSON map is written")
}
