//! One object sent by server-side apply.

use http::Request as HttpRequest;
use kprov_schema::Object;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::Value;

use super::Apply;
use crate::client::conflict::Conflict;
use crate::client::error::ClientError;
use crate::client::inventory::PART_OF;
use crate::client::place::{Id, Place};
use crate::client::{Client, MANAGER};

impl Client {
    /// Sends one object, with the label of its bundle. Returns the code, the warnings and the object as it is then.
    pub(in crate::client) async fn server_side_apply(
        &self,
        id: &Id,
        place: &Place,
        object: &Object,
        label: &Option<String>,
        how: &Apply,
    ) -> Result<(u16, Vec<String>, Object), ClientError> {
        let doing = format!("apply {id}");
        let mut object = object.clone();
        if let Some(label) = label {
            object.set(&["metadata", "labels", PART_OF], Value::from(label.as_str()));
        }
        let answer = self.send(&doing, self.patch(&doing, id, place, object, how)?).await;
        let answer = answer.map_err(|error| match error.api().and_then(|api| Conflict::of(id, &api.status)) {
            Some(conflict) => ClientError::Conflict(Box::new(conflict)),
            None => error,
        })?;
        let (code, warnings) = (answer.code, answer.warnings.clone());
        Ok((code, warnings, answer.object(&doing)?))
    }

    fn patch(
        &self,
        doing: &str,
        id: &Id,
        place: &Place,
        object: Object,
        how: &Apply,
    ) -> Result<HttpRequest<Vec<u8>>, ClientError> {
        let mut params = PatchParams::apply(MANAGER).validation_strict();
        params.force = how.force;
        params.dry_run = how.dry_run;
        let patch = Patch::Apply(Value::from(object));
        let request = Request::new(place.path(Some(&id.namespace))).patch(&id.name, &params, &patch);
        request.map_err(|error| self.failed(doing, kube::Error::BuildRequest(error)))
    }
}
