//! Requests for certificates: who asks is noted, what is asked can be read, and who decides may do so.
//!
//! Source: `pkg/registry/certificates/certificates`, `plugin/pkg/admission/certificates`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kprov_schema::{FieldError, Object, Status};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::Intent;
use crate::api::authorize::{Attributes, decide};
use crate::api::errors;
use crate::api::path::Place;

const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const CONDITIONS: &[&str] = &["status", "conditions"];

/// Notes who asks, whatever the request says.
pub(super) fn note_who(intent: &Intent<'_>, request: &mut Object) -> Result<(), Status> {
    if intent.old.is_some() {
        return Ok(());
    }
    let user = intent.user;
    let mut extra = serde_json::Map::new();
    for (key, value) in &user.extra {
        let values = extra.entry(key.clone()).or_insert_with(|| json!([]));
        values.as_array_mut().into_iter().for_each(|all| all.push(value.as_str().into()));
    }
    let filled = |value: Value, is_empty: bool| (!is_empty).then_some(value);
    for (field, value) in [
        ("username", filled(user.name.as_str().into(), user.name.is_empty())),
        ("uid", filled(user.uid.as_str().into(), user.uid.is_empty())),
        ("groups", filled(json!(user.groups), user.groups.is_empty())),
        ("extra", filled(extra.clone().into(), extra.is_empty())),
    ] {
        match value {
            Some(value) => request.set(&["spec", field], value),
            None => drop(request.remove(&["spec", field])),
        }
    }
    Ok(())
}

/// Conditions without a time get that of now, or of when the same was said before.
pub(super) fn condition_times(intent: &Intent<'_>, request: &mut Object) -> Result<(), Status> {
    let Some(mut conditions) = request.at(CONDITIONS).and_then(Value::as_array).cloned() else { return Ok(()) };
    let now = errors::seconds(intent.core.world.clock.now());
    let before = intent.old.and_then(|old| old.at(CONDITIONS)).and_then(Value::as_array);
    for condition in &mut conditions {
        let same = |one: &&Value| one["type"] == condition["type"] && one["status"] == condition["status"];
        let since = before.into_iter().flatten().find(same).map(|one| one["lastTransitionTime"].clone());
        let since = since.filter(|time| !time.is_null()).unwrap_or_else(|| now.clone());
        for (field, time) in [("lastUpdateTime", now.clone()), ("lastTransitionTime", since)] {
            if condition[field].is_null() {
                condition[field] = time;
            }
        }
    }
    request.set(CONDITIONS, conditions.into());
    Ok(())
}

/// Whether a new request can be read, and does not ask for more than anybody gets.
pub(super) fn readable(intent: &Intent<'_>, request: &Object, _: &mut Vec<String>) -> Result<(), Status> {
    if intent.old.is_some() {
        return Ok(());
    }
    let given = request.text(&["spec", "request"]).unwrap_or_default();
    let organizations = organizations(&STANDARD.decode(given).unwrap_or_default()).map_err(|why| {
        let error = FieldError::invalid("spec.request", &given.into(), &why);
        errors::invalid(&intent.target.kind, request.name(), &[error])
    })?;
    let signer = request.text(&["spec", "signerName"]).unwrap_or_default();
    if signer == API_CLIENT && organizations.iter().any(|one| one == "system:masters") {
        let why = format!("use of {API_CLIENT} signer with system:masters group is not allowed");
        return Err(errors::forbidden(&intent.target.kind.resource, request.name(), &why));
    }
    Ok(())
}

/// The organizations of the subject of a request, whose signature shows that who asks has the key.
fn organizations(pem: &[u8]) -> Result<Vec<String>, String> {
    let der = CertificateSigningRequestDer::from_pem_slice(pem)
        .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    let (_, request) = X509CertificationRequest::from_der(&der).map_err(|error| error.to_string())?;
    request.verify_signature().map_err(|error| error.to_string())?;
    let organizations = request.certification_request_info.subject.iter_organization();
    Ok(organizations.filter_map(|one| one.as_str().ok()).map(str::to_owned).collect())
}

/// Whether the user may approve or deny what is asked of a signer.
pub(super) fn may_approve(intent: &Intent<'_>, _: &Object, _: &mut Vec<String>) -> Result<(), Status> {
    may(intent, "approve")
}

/// Whether the user may say what came of a request.
pub(super) fn may_sign(intent: &Intent<'_>, request: &Object, _: &mut Vec<String>) -> Result<(), Status> {
    let Some(old) = intent.old else { return Ok(()) };
    let said = |request: &Object| (request.at(&["status", "certificate"]).cloned(), request.at(CONDITIONS).cloned());
    if said(old) == said(request) { Ok(()) } else { may(intent, "sign") }
}

fn may(intent: &Intent<'_>, verb: &'static str) -> Result<(), Status> {
    let Some(old) = intent.old else { return Ok(()) };
    let signer = old.text(&["spec", "signerName"]).unwrap_or_default();
    let any = signer.split_once('/').map(|(domain, _)| format!("{domain}/*")).unwrap_or_default();
    let allowed = |name: &str| {
        let place = Place {
            group: "certificates.k8s.io".to_owned(),
            version: "*".to_owned(),
            plural: "signers".to_owned(),
            name: name.to_owned(),
            ..Place::default()
        };
        let wanted = Attributes { verb: verb.into(), place, ..Attributes::default() };
        decide(intent.core, intent.user, &wanted).is_some()
    };
    if allowed(signer) || allowed(&any) {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName \"{signer}\"");
    Err(errors::forbidden(&intent.target.kind.resource, old.name(), &why))
}
