//! A service in place of its struct, and a struct in place of a service.

use std::marker::PhantomData;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Any, Service};
use crate::build::object::{Namespaced, Object};

impl From<core::Service> for Service<Any> {
    fn from(raw: core::Service) -> Self {
        Self(raw, PhantomData)
    }
}

impl<S> From<Service<S>> for core::Service {
    fn from(service: Service<S>) -> Self {
        service.0
    }
}

impl<S> AsRef<core::Service> for Service<S> {
    fn as_ref(&self) -> &core::Service {
        &self.0
    }
}

impl<S> AsMut<core::Service> for Service<S> {
    fn as_mut(&mut self) -> &mut core::Service {
        &mut self.0
    }
}

impl<S> k8s_openapi::Resource for Service<S> {
    const API_VERSION: &'static str = <core::Service as k8s_openapi::Resource>::API_VERSION;
    const GROUP: &'static str = <core::Service as k8s_openapi::Resource>::GROUP;
    const KIND: &'static str = <core::Service as k8s_openapi::Resource>::KIND;
    const VERSION: &'static str = <core::Service as k8s_openapi::Resource>::VERSION;
    const URL_PATH_SEGMENT: &'static str = <core::Service as k8s_openapi::Resource>::URL_PATH_SEGMENT;
    type Scope = <core::Service as k8s_openapi::Resource>::Scope;
}

impl<S> k8s_openapi::Metadata for Service<S> {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

impl<S> serde::Serialize for Service<S> {
    fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Service<Any> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        core::Service::deserialize(deserializer).map(Self::from)
    }
}

impl<S> Object for Service<S> {
    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

impl<S> Namespaced for Service<S> {}
