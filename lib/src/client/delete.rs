//! Deletes a bundle: backwards through the stages, and waits until it is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use kprov_schema::Object;
use kube::api::DeleteParams;
use kube::core::Request;

use super::Client;
use super::apply::stages;
use super::error::ClientError;
use super::inventory::{PART_OF, Set};
use super::place::Id;
use super::report::{Did, Outcome, Progress, Report};
use super::wait::Goal;
use crate::Bundle;

/// How a bundle is deleted.
///
/// ```
/// use std::time::Duration;
/// use kprov::client::Delete;
///
/// let thorough = Delete::new().foreground().wait(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Delete {
    foreground: bool,
    wait: Option<Duration>,
}

impl Delete {
    /// In the background, without a wait.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An object stays until what it owns is gone.
    #[must_use]
    pub fn foreground(mut self) -> Self {
        self.foreground = true;
        self
    }

    /// Waits so long, all in all, until everything is gone: each stage before the next one.
    #[must_use]
    pub fn wait(mut self, within: Duration) -> Self {
        self.wait = Some(within);
        self
    }
}

impl Client {
    /// Deletes the objects of a bundle in the background. What is gone already is fine.
    ///
    /// Errors: [`ClientError::Incomplete`], whose report has every object.
    ///
    /// ```
    /// use kprov::Bundle;
    /// use kprov::client::{Client, ClientError};
    ///
    /// async fn remove(cluster: &Client, app: &Bundle) -> Result<(), ClientError> {
    ///     cluster.delete(app).await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn delete(&self, bundle: &Bundle) -> Result<Report, ClientError> {
        self.delete_with(bundle, &Delete::new(), &mut |_| {}).await
    }

    /// Deletes the objects of a bundle as `how` says, in the reverse order of an apply. What the cluster remembers of the
    /// bundle goes with the last object that it made.
    ///
    /// Errors: [`ClientError::Incomplete`]; [`ClientError::NotReady`] with what keeps an object when the time is over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kprov::Bundle;
    /// use kprov::client::{Client, ClientError, Delete};
    ///
    /// async fn remove(cluster: &Client, app: &Bundle) -> Result<(), ClientError> {
    ///     cluster.delete_with(app, &Delete::new().wait(Duration::from_secs(60)), &mut |_| {}).await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn delete_with(
        &self,
        bundle: &Bundle,
        how: &Delete,
        tell: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<Report, ClientError> {
        let mut report = Report::default();
        let mut left = how.wait;
        let mut sets = BTreeSet::new();
        for (_, objects) in stages(bundle).into_iter().rev() {
            let calls: Vec<_> = objects.iter().map(|object| self.delete_one(object, how)).collect();
            let mut going = Vec::new();
            let mut done = stream::iter(calls).buffered(8);
            while let Some((did, set)) = done.next().await {
                sets.extend(set);
                tell(Progress::Did(&did));
                if matches!(did.outcome, Outcome::Deleted) {
                    going.push(did.object.clone());
                }
                report.objects.push(did);
            }
            if let Some(within) = left {
                left = Some(self.await_all(going, Goal::Gone, within, tell).await?);
            }
        }
        let report = report.outcome()?;
        self.forget_empty(&Set::new(bundle.name(), self.default_namespace()), sets).await?;
        Ok(report)
    }

    /// What became of the object, and the label of the bundle that made it.
    async fn delete_one(&self, object: &Object, how: &Delete) -> (Did, Option<String>) {
        let name = self.name_of(object);
        match self.try_delete(object, how).await {
            Ok((id, Some(live))) => (Did::new(id, Outcome::Deleted), live.label(PART_OF).map(str::to_owned)),
            Ok((id, None)) => (Did::new(id, Outcome::Missing), None),
            // Without the kind there are no objects of it.
            Err(ClientError::UnknownKind { .. }) => (Did::new(name, Outcome::Missing), None),
            Err(error) => (Did::new(name, Outcome::Failed(error)), None),
        }
    }

    async fn try_delete(&self, object: &Object, how: &Delete) -> Result<(Id, Option<Object>), ClientError> {
        let (id, place) = self.locate(object).await?;
        let Some(live) = self.live(&id, &place).await? else { return Ok((id, None)) };
        let doing = format!("delete {id}");
        let params = if how.foreground { DeleteParams::foreground() } else { DeleteParams::background() };
        let request = Request::new(place.path(Some(&id.namespace))).delete(&id.name, &params);
        let request = request.map_err(|error| self.failed(&doing, kube::Error::BuildRequest(error)))?;
        match self.send(&doing, request).await {
            Ok(_) => Ok((id, Some(live))),
            Err(error) if error.is_not_found() => Ok((id, None)),
            Err(error) => Err(error),
        }
    }
}
