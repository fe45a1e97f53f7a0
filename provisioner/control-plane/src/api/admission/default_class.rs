//! The class of objects that name none: the newest one that is marked as the cluster's default.
//!
//! Source: `plugin/pkg/admission/network/defaultingressclass`.

use k8s_openapi::api::networking::v1::IngressClass;
use kprov_schema::{Object, Status};

use super::Intent;

/// The annotation by which an ingress named its class before there was a field for it.
const OLD_INGRESS_CLASS: &str = "kubernetes.io/ingress.class";

/// The name of the newest class of a kind that carries `annotation`; of equally old ones the first by name.
fn newest_default<T: k8s_openapi::Resource>(intent: &Intent<'_>, annotation: &str) -> Result<Option<String>, Status> {
    let all = intent.core.all::<T>()?;
    let marked = all.iter().map(|one| &one.object).filter(|one| one.annotation(annotation) == Some("true"));
    let made = |class: &Object| class.text(&["metadata", "creationTimestamp"]).unwrap_or_default().to_owned();
    let newest = marked.max_by(|a, b| made(a).cmp(&made(b)).then_with(|| b.name().cmp(a.name())));
    Ok(newest.map(|class| class.name().to_owned()))
}

pub(super) fn ingress(intent: &Intent<'_>, ingress: &mut Object) -> Result<(), Status> {
    const FIELD: &[&str] = &["spec", "ingressClassName"];
    let named = ingress.at(FIELD).is_some_and(|class| !class.is_null());
    if intent.old.is_some() || named || ingress.annotation(OLD_INGRESS_CLASS).is_some() {
        return Ok(());
    }
    if let Some(class) = newest_default::<IngressClass>(intent, "ingressclass.kubernetes.io/is-default-class")? {
        ingress.set(FIELD, class.into());
    }
    Ok(())
}
