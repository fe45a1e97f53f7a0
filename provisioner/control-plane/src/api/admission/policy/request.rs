//! A request as policies see it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kprov_schema::cel::{Authorizer, Wanted};
use kprov_schema::{Kind, Object, Resource, Status};
use serde_json::{Map, Value, json};

use super::NOTHING;
use crate::api::admission::Intent;
use crate::api::authorize::{self, Attributes};
use crate::api::core::Core;
use crate::api::owners::as_kind;
use crate::api::path::Place;
use crate::api::subresource;
use crate::api::user::User;

/// Group, version and kind of what a request speaks of.
type Spoken = (String, String, String);

/// Who wants to do what with which object, or a part of it.
pub(super) struct Request<'a> {
    pub(super) core: &'a Core,
    user: &'a User,
    /// The kind whose resource it is about.
    pub(super) kind: Arc<Kind>,
    /// The kind that it speaks, where that is another one.
    speaks: Option<Spoken>,
    /// The part of the object that it is about, or nothing.
    pub(super) part: &'static str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) operation: &'static str,
    pub(super) object: Option<Object>,
    pub(super) old: Option<Object>,
    dry_run: bool,
}

impl<'a> Request<'a> {
    /// A creation or a change, of an object or of a part that is written.
    pub(super) fn write(intent: &Intent<'a>, object: &Object) -> Result<Self, Status> {
        let operation = if intent.old.is_some() { "UPDATE" } else { "CREATE" };
        let mut request = Self::of(intent, operation);
        let old = intent.old.map(|old| Object::clone(old));
        let part = intent.target.part.map(subresource::part).transpose()?;
        match part.and_then(|part| Some((part, part.speaks?))) {
            Some((part, (group, version, kind))) => {
                request.speaks = Some((group.to_owned(), version.to_owned(), kind.to_owned()));
                request.object = Some((part.show)(&request.kind, object));
                request.old = old.map(|old| (part.show)(&request.kind, &old));
            }
            None => (request.object, request.old) = (Some(object.clone()), old),
        }
        Ok(request)
    }

    /// A deletion.
    pub(super) fn deletion(intent: &Intent<'a>) -> Self {
        Self { old: intent.old.map(|old| old.without_managers()), ..Self::of(intent, "DELETE") }
    }

    /// The creation of a part that does something, such as a binding.
    pub(super) fn action(intent: &Intent<'a>, (group, version, kind): (&str, &str, &str), body: &Object) -> Self {
        let speaks = Some((group.to_owned(), version.to_owned(), kind.to_owned()));
        Self { speaks, object: Some(body.clone()), ..Self::of(intent, "CREATE") }
    }

    fn of(intent: &Intent<'a>, operation: &'static str) -> Self {
        let target = intent.target;
        let is_namespace = is_namespaces(&target.kind.resource);
        Self {
            core: intent.core,
            user: intent.user,
            kind: target.kind.clone(),
            speaks: None,
            part: target.part.map(kprov_schema::Subresource::name).unwrap_or_default(),
            name: &target.key.name,
            // A namespace is in itself.
            namespace: if is_namespace { &target.key.name } else { &target.key.namespace },
            operation,
            object: None,
            old: None,
            dry_run: intent.dry_run,
        }
    }

    pub(super) fn resource(&self) -> &Resource {
        &self.kind.resource
    }

    pub(super) fn is_about_namespaces(&self) -> bool {
        is_namespaces(self.resource())
    }

    /// What expressions see of it, as who asks for `kind` does.
    pub(super) fn values(&self, kind: &Arc<Kind>) -> Result<Value, Status> {
        let shown = |object: &Option<Object>| {
            object.clone().map_or(NOTHING, |object| Value::from(self.converted(object, kind)))
        };
        Ok(json!({
            "object": shown(&self.object), "oldObject": shown(&self.old), "request": self.told(kind),
            "namespaceObject": null, "params": null,
        }))
    }

    /// An object in the version of another kind of the same objects.
    fn converted(&self, object: Object, kind: &Kind) -> Object {
        if self.speaks.is_some() { object } else { as_kind(object, &self.kind, kind) }
    }

    fn told(&self, kind: &Arc<Kind>) -> Value {
        let spoken = |kind: &Kind| {
            let own = || (kind.resource.group.to_string(), kind.resource.version.to_string(), kind.kind.to_string());
            let (group, version, kind) = self.speaks.clone().unwrap_or_else(own);
            json!({"group": group, "version": version, "kind": kind})
        };
        let resource = |resource: &Resource| json!({"group": resource.group, "version": resource.version, "resource": resource.plural});
        let mut extra: Map<String, Value> = Map::new();
        for (key, value) in &self.user.extra {
            if let Value::Array(values) = extra.entry(key.clone()).or_insert_with(|| json!([])) {
                values.push(value.as_str().into());
            }
        }
        let options = match self.operation {
            "CREATE" => "CreateOptions",
            "UPDATE" => "UpdateOptions",
            _ => "DeleteOptions",
        };
        let mut options = json!({"kind": options, "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        json!({
            "kind": spoken(kind), "resource": resource(&kind.resource), "subResource": self.part,
            "requestKind": spoken(&self.kind), "requestResource": resource(self.resource()),
            "requestSubResource": self.part, "name": self.name, "namespace": self.namespace,
            "operation": self.operation, "dryRun": self.dry_run, "options": options,
            "userInfo": {
                "username": self.user.name, "uid": self.user.uid, "groups": self.user.groups, "extra": extra,
            },
        })
    }

    /// Who answers what somebody may do, with what the request itself is about.
    pub(super) fn authorizer(&self) -> (Arc<dyn Authorizer>, Wanted) {
        let resource = self.resource();
        let wanted = Wanted {
            group: resource.group.to_string(),
            resource: resource.plural.to_string(),
            subresource: self.part.to_owned(),
            namespace: self.namespace.to_owned(),
            name: self.name.to_owned(),
            ..Wanted::default()
        };
        (Arc::new(Asker { core: self.core.shared(), user: self.user.clone() }), wanted)
    }

    /// The namespace that the object is in, with what expressions may see of it.
    pub(super) fn namespace_value(&self) -> Value {
        const METADATA: &[&str] = &[
            "name",
            "generateName",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "labels",
            "annotations",
            "finalizers",
        ];
        if self.namespace.is_empty() || self.is_about_namespaces() {
            return NOTHING;
        }
        let Some(stored) = self.core.get::<Namespace>("", self.namespace) else { return NOTHING };
        let mut shown = json!({});
        for field in METADATA {
            if let Some(value) = stored.object.at(&["metadata", field]) {
                shown["metadata"][*field] = value.clone();
            }
        }
        for field in ["spec", "status"] {
            if let Some(value) = stored.object.at(&[field]) {
                shown[field] = value.clone();
            }
        }
        shown
    }
}

/// What a user may do, by the rules of this server.
struct Asker {
    core: Arc<Core>,
    user: User,
}

impl Authorizer for Asker {
    fn allows(&self, wanted: &Wanted) -> Option<String> {
        let account = wanted.account.as_ref().map(|(namespace, name)| User::service_account(namespace, name));
        let mut attributes = Attributes { verb: wanted.verb.clone().into(), ..Attributes::default() };
        match &wanted.path {
            Some(path) => attributes.path.clone_from(path),
            None => {
                attributes.resource = true;
                attributes.place = Place {
                    group: wanted.group.clone(),
                    version: "*".to_owned(),
                    namespace: wanted.namespace.clone(),
                    plural: wanted.resource.clone(),
                    name: wanted.name.clone(),
                    subresource: wanted.subresource.clone(),
                    ..Place::default()
                };
            }
        }
        authorize::decide(&self.core, account.as_ref().unwrap_or(&self.user), &attributes)
    }
}

fn is_namespaces(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}
