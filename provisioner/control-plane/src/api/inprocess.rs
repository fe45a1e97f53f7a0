//! The verbs without a socket: what controllers, the scheduler and node agents of this process call.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kprov_schema::{Key, Kind, Object, Resource, Revision, Status, Subresource};
use serde_json::Value;
use tokio_stream::wrappers::WatchStream;

use super::actions::{self, Call};
use super::authorize::{Attributes, authorize};
use super::core::Core;
use super::errors;
use super::owners::Owners;
use super::query::{Deletion, FieldValidation, ListOptions, WriteOptions};
use super::subresource;
use super::target::Target;
use super::user::User;
use super::verbs;
use super::verbs::watch::{Told, What};
use crate::client::{DeleteOptions, Event, List, PatchKind, Selection, Verbs};

/// The verbs, as one user.
pub(crate) struct InProcess {
    core: Arc<Core>,
    user: User,
    options: WriteOptions,
}

impl InProcess {
    pub(crate) fn new(core: Arc<Core>, user: User) -> Self {
        let manager = user.manager().to_owned();
        // Objects of this process have no unknown fields to complain about.
        let validation = FieldValidation::Ignore;
        Self { core, user, options: WriteOptions { dry_run: false, validation, manager, force: false } }
    }

    /// The same under another name as the owner of fields.
    pub(crate) fn managing_as(mut self, manager: &str) -> Self {
        manager.clone_into(&mut self.options.manager);
        self
    }

    /// Applies what it has to say about a part of an object.
    pub(crate) async fn apply_part(
        &self,
        resource: &Resource,
        key: &Key,
        part: Subresource,
        object: &Value,
    ) -> Result<(), Status> {
        let target = self.target("patch", resource, key, Some(part))?;
        let config = object.to_string();
        verbs::apply::apply(&self.core, &self.user, &target, config.as_bytes(), &self.options).await.map(|_| ())
    }

    fn target(
        &self,
        verb: &'static str,
        resource: &Resource,
        key: &Key,
        part: Option<Subresource>,
    ) -> Result<Target, Status> {
        let mut target = self.core.target(resource, key)?;
        if part.is_some_and(|part| !subresource::has(&target.kind, part)) {
            return Err(errors::no_such_path());
        }
        target.part = part;
        authorize(&self.core, &self.user, &Attributes::in_process(verb, &target.kind, key, part))?;
        Ok(target)
    }

    fn collection(&self, verb: &'static str, resource: &Resource, which: &Selection) -> Result<Target, Status> {
        let key = Key::new(which.namespace.clone().unwrap_or_default(), "");
        let target = self.core.target(resource, &key)?;
        let mut wanted = Attributes::in_process(verb, &target.kind, &key, None);
        wanted.select(&which.fields);
        authorize(&self.core, &self.user, &wanted)?;
        Ok(target)
    }
}

fn options(which: &Selection) -> ListOptions {
    ListOptions { labels: which.labels.clone(), fields: which.fields.clone(), ..ListOptions::default() }
}

impl Verbs for InProcess {
    fn get<'a>(&'a self, resource: &'a Resource, key: &'a Key) -> BoxFuture<'a, Result<Arc<Object>, Status>> {
        Box::pin(async move {
            let target = self.target("get", resource, key, None)?;
            Ok(verbs::get::get(&self.core, &target, None).await?.object.clone())
        })
    }

    fn list<'a>(&'a self, resource: &'a Resource, which: &'a Selection) -> BoxFuture<'a, Result<List, Status>> {
        Box::pin(async move {
            let target = self.collection("list", resource, which)?;
            let listing = verbs::list::list(&self.core, &target, &options(which)).await?;
            let items = listing.items.iter().map(|stored| stored.object.clone()).collect();
            Ok(List { revision: listing.revision, items })
        })
    }

    fn watch<'a>(
        &'a self,
        resource: &'a Resource,
        which: &'a Selection,
        from: Revision,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Event, Status>>, Status>> {
        Box::pin(async move {
            let target = self.collection("watch", resource, which)?;
            let options = ListOptions {
                from: Some(from),
                watch: true,
                bookmarks: true,
                initial_events: Some(false),
                ..options(which)
            };
            let told = verbs::watch::watch(&self.core, &target, &options)?;
            Ok(told.map(event).boxed())
        })
    }

    fn create<'a>(
        &'a self,
        resource: &'a Resource,
        key: &'a Key,
        part: Option<Subresource>,
        object: Object,
    ) -> BoxFuture<'a, Result<Arc<Object>, Status>> {
        Box::pin(async move {
            let target = self.target("create", resource, key, part)?;
            let Some(part) = part else {
                let target = target.named("");
                let done =
                    verbs::create::create(&self.core, &self.user, &target, object, &self.options, Owners::Changed)
                        .await?;
                return Ok(done.outcome.object().clone());
            };
            let call =
                Call { core: &self.core, user: &self.user, target: &target, body: object, options: &self.options };
            let done = actions::action(part)?.act(call, &mut Vec::new()).await?;
            Object::try_from(done).map(Arc::new).map_err(errors::internal)
        })
    }

    fn update<'a>(
        &'a self,
        resource: &'a Resource,
        part: Option<Subresource>,
        object: Object,
    ) -> BoxFuture<'a, Result<Arc<Object>, Status>> {
        Box::pin(async move {
            let target = self.target("update", resource, &object.key(), part)?;
            let done = verbs::update::update(&self.core, &self.user, &target, object, &self.options).await?;
            Ok(done.outcome.object().clone())
        })
    }

    fn patch<'a>(
        &'a self,
        resource: &'a Resource,
        key: &'a Key,
        part: Option<Subresource>,
        kind: PatchKind,
        patch: Value,
    ) -> BoxFuture<'a, Result<Arc<Object>, Status>> {
        Box::pin(async move {
            let target = self.target("patch", resource, key, part)?;
            let done =
                verbs::patch::patch(&self.core, &self.user, &target, kind, patch.to_string().as_bytes(), &self.options)
                    .await?;
            Ok(done.outcome.object().clone())
        })
    }

    fn custom_kinds(&self) -> BoxStream<'static, Vec<Arc<Kind>>> {
        let core = self.core.clone();
        WatchStream::new(core.registry_moved()).map(move |_| core.registry().custom()).boxed()
    }

    fn delete<'a>(
        &'a self,
        resource: &'a Resource,
        key: &'a Key,
        options: DeleteOptions,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let target = self.target("delete", resource, key, None)?;
            let deletion = Deletion { options, dry_run: false };
            // Nobody reads advice that goes to a component.
            verbs::delete::delete(&self.core, &self.user, &target, &deletion, &mut Vec::new()).await.map(|_| ())
        })
    }
}

fn event(told: Told) -> Result<Event, Status> {
    match told {
        Told::Change(What::Added, stored) => Ok(Event::Added(stored.object.clone())),
        Told::Change(What::Modified, stored) => Ok(Event::Modified(stored.object.clone())),
        Told::Change(What::Deleted, stored) => Ok(Event::Deleted(stored.object.clone())),
        Told::Bookmark { revision, .. } => Ok(Event::Bookmark(revision)),
        Told::Failed(status) => Err(status),
    }
}
