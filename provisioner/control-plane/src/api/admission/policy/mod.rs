//! Validating admission policies: what requests must satisfy by the bindings that are there.
//!
//! Source: apiserver `admission/plugin/policy/validating`.

mod compiled;
mod matching;
mod params;
mod request;

use kprov_schema::{Kind, Object, Status};
use serde_json::Value;

pub(crate) use compiled::Policies;

use compiled::{Hook, Policy};
use request::Request;

use super::Intent;
use crate::api::errors;

/// Why a request is denied by a policy.
struct Denial {
    message: String,
    reason: String,
}

impl Denial {
    /// Something broke that is not the request's fault; that is `Invalid` too, as it is upstream.
    fn broken(message: String) -> Self {
        Self { message, reason: String::new() }
    }
}

/// Whether the policies of the cluster let a write through.
pub(super) fn write(intent: &Intent<'_>, object: &Object, warnings: &mut Vec<String>) -> Result<(), Status> {
    ask(intent, warnings, || Request::write(intent, object))
}

/// Whether the policies of the cluster let an object go.
pub(super) fn deletion(intent: &Intent<'_>, warnings: &mut Vec<String>) -> Result<(), Status> {
    ask(intent, warnings, || Ok(Request::deletion(intent)))
}

/// Whether the policies of the cluster let a part be created that does something, such as a binding; `speaks` is the
/// kind of what is created.
pub(crate) fn action(
    intent: &Intent<'_>,
    speaks: (&str, &str, &str),
    body: &Object,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    ask(intent, warnings, || Ok(Request::action(intent, speaks, body)))
}

/// Asks every policy that is about a request; the first that denies it is told.
fn ask<'a>(
    intent: &Intent<'_>,
    warnings: &mut Vec<String>,
    request: impl FnOnce() -> Result<Request<'a>, Status>,
) -> Result<(), Status> {
    let hooks = intent.core.policies.hooks(intent.core)?;
    if hooks.is_empty() || is_exempt(&intent.target.kind) {
        return Ok(());
    }
    let (request, mut denied) = (request()?, None);
    for hook in hooks.iter() {
        let told = asked(&request, hook, warnings)?;
        denied = denied.or(told);
    }
    denied.map_or(Ok(()), Err)
}

/// Whether nothing may have a say in objects of a kind: else who made a policy could not take it back.
fn is_exempt(kind: &Kind) -> bool {
    kind.resource.group == "admissionregistration.k8s.io"
}

/// What a policy with its bindings says of a request.
fn asked(request: &Request<'_>, hook: &Hook, warnings: &mut Vec<String>) -> Result<Option<Status>, Status> {
    let policy = &hook.policy;
    let matched = match matching::matches(request, policy.constraints()) {
        Ok(None) => return Ok(None),
        Ok(Some(kind)) => kind,
        Err(why) => return Ok(policy.fails().then(|| refusal(request, policy, None, &failed("policy", &why)))),
    };
    if let Err(why) = params::kind(request, policy) {
        return Ok(policy.fails().then(|| refusal(request, policy, None, &failed("policy", &why))));
    }
    let mut denied = None;
    for binding in &hook.bindings {
        let name = binding.metadata.name.as_deref().unwrap_or_default();
        let spec = &binding.spec;
        let found = match matching::matches_binding(request, spec.match_resources.as_ref()) {
            Ok(false) => continue,
            Ok(true) => params::of(request, policy, spec.param_ref.as_ref()),
            Err(why) => Err(why),
        };
        let params = match found {
            Ok(params) => params,
            Err(why) if policy.fails() => {
                denied = denied.or(Some(refusal(request, policy, Some(name), &failed("binding", &why))));
                continue;
            }
            Err(_) => continue,
        };
        for param in params {
            let verdict = policy.judge(request, request.values(&matched)?, param);
            for denial in &verdict.denials {
                for action in &spec.validation_actions {
                    match action.as_str() {
                        "Deny" => denied = denied.or_else(|| Some(refusal(request, policy, Some(name), denial))),
                        "Warn" => warnings.push(warning(policy, name, denial)),
                        // There is no audit log that it could stand in.
                        _ => {}
                    }
                }
            }
            for denial in &verdict.unreadable {
                denied = denied.or_else(|| Some(refusal(request, policy, Some(name), denial)));
            }
        }
    }
    Ok(denied)
}

fn failed(what: &str, why: &str) -> Denial {
    Denial::broken(format!("failed to configure {what}: {why}"))
}

fn warning(policy: &Policy, binding: &str, denial: &Denial) -> String {
    let name = policy.name();
    format!("Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{binding}': {}", denial.message)
}

/// The answer to a request that is denied.
fn refusal(request: &Request<'_>, policy: &Policy, binding: Option<&str>, denial: &Denial) -> Status {
    let with = binding.map(|binding| format!(" with binding '{binding}'")).unwrap_or_default();
    let why = format!("ValidatingAdmissionPolicy '{}'{with} denied request: {}", policy.name(), denial.message);
    let mut status = errors::forbidden(request.resource(), request.name, &why);
    status.reason = if denial.reason.is_empty() { "Invalid".to_owned() } else { denial.reason.clone() };
    status.code = match status.reason.as_str() {
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    status.with_cause("", &why, "")
}

/// A value that is not there.
const NOTHING: Value = Value::Null;
