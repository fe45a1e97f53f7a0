//! What a StatefulSet tells of its pods and claims.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kprov_schema::{Object, Resource};

use crate::controllers::machinery::action::{Action, Note, Report};
use crate::controllers::machinery::meta::reference;
use crate::controllers::machinery::snapshot::{Failure, Seen};
use crate::controllers::machinery::template::reported;

fn failed(set: &Object, reason: &'static str, verb: &str, pod: &str, why: &str) -> Note {
    let message = format!("{verb} Pod {pod} in StatefulSet {} failed error: {why}", set.name());
    Note::warning(reference(set), reason, message)
}

/// Creates a pod.
pub(super) fn create(set: &Object, pod: Object) -> Action {
    let (name, of) = (pod.name().to_owned(), set.name());
    let success = format!("Create Pod {name} in StatefulSet {of} successful");
    let report = Report {
        success: Note::normal(reference(set), "SuccessfulCreate", success),
        failure: failed(set, "FailedCreate", "Create", &name, "{}"),
    };
    reported(Action::create(Resource::of::<Pod>(), pod), report)
}

/// Deletes a pod.
pub(super) fn delete(set: &Object, pod: &Seen<Pod>) -> Action {
    let (name, of) = (pod.raw.name(), set.name());
    let success = format!("Delete Pod {name} in StatefulSet {of} successful");
    let report = Report {
        success: Note::normal(reference(set), "SuccessfulDelete", success),
        failure: failed(set, "FailedDelete", "Delete", name, "{}"),
    };
    reported(Action::delete(Resource::of::<Pod>(), pod.raw.key(), &pod.raw.uid()), report)
}

/// A pod was brought back to what it should be.
pub(super) fn updated(set: &Object, pod: &Seen<Pod>) -> Action {
    let message = format!("Update Pod {} in StatefulSet {} successful", pod.raw.name(), set.name());
    Action::Record(Note::normal(reference(set), "SuccessfulUpdate", message))
}

/// Creates a claim for a pod.
pub(super) fn create_claim(set: &Object, pod: &str, claim: Object) -> Action {
    let (name, of) = (claim.name().to_owned(), set.name());
    let success = format!("Create Claim {name} Pod {pod} in StatefulSet {of} success");
    let failure = format!("Create Claim {name} for Pod {pod} in StatefulSet {of} failed error: {{}}");
    let report = Report {
        success: Note::normal(reference(set), "SuccessfulCreate", success),
        failure: Note::warning(reference(set), "FailedCreate", failure),
    };
    reported(Action::create(Resource::of::<PersistentVolumeClaim>(), claim), report)
}

/// A pod can't be made while a claim that it needs is on its way out.
pub(super) fn claim_goes(set: &Object, pod: &str, claim: &str) -> Action {
    Action::Record(failed(set, "FailedCreate", "Create", pod, &format!("pvc {claim} is being deleted")))
}

/// What else a failure to make a claim means.
pub(super) fn of_failure(set: &Object, failure: &Failure) -> Option<Action> {
    let is_claim = failure.resource == Resource::of::<PersistentVolumeClaim>();
    let at = failure.key.name.rfind(&format!("{}-", set.name())).filter(|_| is_claim)?;
    let why = format!("failed to create PVC {}: {}", failure.key.name, failure.status.message);
    Some(Action::Record(failed(set, "FailedCreate", "Create", &failure.key.name[at..], &why)))
}
