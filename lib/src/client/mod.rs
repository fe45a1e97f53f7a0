//! Applies bundles to a cluster and waits until they are ready.

use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use kprov_schema::{KINDS, Object};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::runtime::wait::{await_condition, conditions};

use crate::Bundle;

pub use kube;

/// Why a cluster could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig can't be used.
    #[error("kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// The cluster could not be reached or said no.
    #[error("{what}")]
    Request {
        /// What was asked.
        what: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The bundle holds an object of a kind that this version does not know.
    #[error("{0} is of a kind that kprov does not know")]
    UnknownKind(String),
    /// A wait ended early.
    #[error("waiting for {what}")]
    Wait {
        /// What was waited for.
        what: String,
        /// Why it ended.
        #[source]
        source: Box<kube::runtime::wait::Error>,
    },
}

/// A connection to one cluster.
#[derive(Clone)]
pub struct Client {
    kube: kube::Client,
    namespace: String,
}

impl Client {
    /// Connects with a kubeconfig file and its current context.
    pub async fn from_kubeconfig(path: &Path) -> Result<Self, ClientError> {
        let file = Kubeconfig::read_from(path).map_err(ClientError::Kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        Self::new(config.map_err(ClientError::Kubeconfig)?)
    }

    /// Connects as kubectl would: `$KUBECONFIG`, `~/.kube/config`.
    pub async fn from_default() -> Result<Self, ClientError> {
        let config = kube::Config::from_kubeconfig(&KubeConfigOptions::default()).await;
        Self::new(config.map_err(ClientError::Kubeconfig)?)
    }

    fn new(config: kube::Config) -> Result<Self, ClientError> {
        let namespace = config.default_namespace.clone();
        let kube = kube::Client::try_from(config).map_err(|error| asked("connecting".to_owned(), error))?;
        Ok(Self { kube, namespace })
    }

    /// The connection, for everything that is not here.
    #[must_use]
    pub fn kube(&self) -> &kube::Client {
        &self.kube
    }

    /// Creates what is not there and merges the fields of what is. Fields that the bundle does not name stay.
    pub async fn apply(&self, bundle: &Bundle) -> Result<(), ClientError> {
        for object in bundle.objects() {
            self.apply_one(object).await?;
        }
        Ok(())
    }

    async fn apply_one(&self, object: &Object) -> Result<(), ClientError> {
        let api = self.api_of(object)?;
        let what = || format!("applying {} {}", object.kind(), object.name());
        let value = serde_json::Value::from(object.clone());
        if api.get_opt(object.name()).await.map_err(|error| asked(what(), error))?.is_some() {
            let merged = api.patch(object.name(), &PatchParams::default(), &Patch::Merge(&value)).await;
            return merged.map(drop).map_err(|error| asked(what(), error));
        }
        let typed = serde_json::from_value(value).map_err(|error| asked(what(), kube::Error::SerdeError(error)))?;
        api.create(&PostParams::default(), &typed).await.map(drop).map_err(|error| asked(what(), error))
    }

    fn api_of(&self, object: &Object) -> Result<Api<DynamicObject>, ClientError> {
        let row = KINDS
            .iter()
            .find(|kind| kind.kind == object.kind() && kind.resource.api_version() == object.api_version())
            .ok_or_else(|| ClientError::UnknownKind(format!("{} {}", object.kind(), object.name())))?;
        let gvk = GroupVersionKind::gvk(&row.resource.group, &row.resource.version, &row.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &row.resource.plural);
        let namespace = if object.namespace().is_empty() { &self.namespace } else { object.namespace() };
        Ok(if row.is_namespaced() {
            Api::namespaced_with(self.kube.clone(), namespace, &resource)
        } else {
            Api::all_with(self.kube.clone(), &resource)
        })
    }

    /// Waits until a deployment's pods are all new and available.
    ///
    /// There is no time-out inside: wrap the future in one.
    pub async fn deployment_ready(&self, name: &str) -> Result<(), ClientError> {
        let api: Api<Deployment> = Api::namespaced(self.kube.clone(), &self.namespace);
        let ready = await_condition(api, name, conditions::is_deployment_completed()).await;
        ready
            .map(drop)
            .map_err(|source| ClientError::Wait { what: format!("deployment {name}"), source: Box::new(source) })
    }
}

fn asked(what: String, source: kube::Error) -> ClientError {
    ClientError::Request { what, source: Box::new(source) }
}
