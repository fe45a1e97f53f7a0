//! API services: who serves a group and version, this server or another one.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, APIServiceSpec, APIServiceStatus,
};

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::parts;
use crate::kind::{Column, Reset, Rules, STATUS_ALONE, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names::{self, NameRule};
use crate::status::{FieldError, quoted};
use crate::table;

const STATUSES: &[&str] = &["True", "False", "Unknown"];
const GROUP_PRIORITY_MAX: i32 = 20_000;
const VERSION_PRIORITY_MAX: i32 = 1000;

impl Rules for APIService {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules =
        MetaRules { unconditional: false, ..MetaRules::COMMON }.named(NameRule::Path).repeating(Repeats::Both);
    const RESETS: &'static [(Write, Reset)] = STATUS_ALONE;
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Service", "The reference to the service that hosts this API endpoint.", |it, _| {
            let service = it.spec.as_ref().and_then(|spec| spec.service.as_ref());
            let shown = service.map(|service| format!("{}/{}", text(&service.namespace), text(&service.name)));
            shown.unwrap_or_else(|| "Local".to_owned()).into()
        }),
        table::text("Available", "Whether this service is available.", |it, _| available(it).into()),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        if let Some(service) = self.spec.as_mut().and_then(|spec| spec.service.as_mut()) {
            service.port.get_or_insert(443);
        }
        self.status.get_or_insert_default();
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let before = old.map(|old| (&old.metadata, &old.spec, &old.status));
        let first = first_status(self);
        parts::prepare_uncounted_alone((&mut self.metadata, &mut self.spec, &mut self.status), before, write, first);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        if old.is_some() && write == Write::Status {
            let at = Path::root("status");
            let at = at.child("conditions");
            let conditions = self.status.as_ref().map(|status| list(&status.conditions)).unwrap_or_default();
            for (index, condition) in conditions.iter().enumerate() {
                errors.one_of(&at.index(index).child("status"), &condition.status, STATUSES);
            }
            return errors.into_vec();
        }
        let none = APIServiceSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&none);
        name(&mut errors, text(&self.metadata.name), spec);
        group_version(&mut errors, spec);
        service(&mut errors, spec);
        errors.into_vec()
    }
}

/// What this server serves itself is available from the first moment on.
fn first_status(service: &APIService) -> APIServiceStatus {
    if service.spec.as_ref().is_some_and(|spec| spec.service.is_some()) {
        return APIServiceStatus::default();
    }
    let condition = APIServiceCondition {
        type_: "Available".to_owned(),
        status: "True".to_owned(),
        reason: Some("Local".to_owned()),
        message: Some("Local APIServices are always available".to_owned()),
        last_transition_time: service.metadata.creation_timestamp.clone(),
    };
    APIServiceStatus { conditions: Some(vec![condition]) }
}

fn available(service: &APIService) -> String {
    let conditions = service.status.as_ref().map(|status| list(&status.conditions)).unwrap_or_default();
    match conditions.iter().find(|condition| condition.type_ == "Available") {
        None => "Unknown".to_owned(),
        Some(condition) if condition.status == "True" || text(&condition.reason).is_empty() => condition.status.clone(),
        Some(condition) => format!("{} ({})", condition.status, text(&condition.reason)),
    }
}

fn name(errors: &mut Errors, name: &str, spec: &APIServiceSpec) {
    let wanted = format!("{}.{}", text(&spec.version), text(&spec.group));
    if !name.is_empty() && names::path_segment(name, false).is_empty() && name != wanted {
        let at = Path::root("metadata");
        let why = format!("must be `spec.version+\".\"+spec.group`: {}", quoted(&wanted));
        errors.invalid(&at.child("name"), name, &why);
    }
}

fn group_version(errors: &mut Errors, spec: &APIServiceSpec) {
    let at = Path::root("spec");
    let (group_at, group, version) = (at.child("group"), text(&spec.group), text(&spec.version));
    if group.is_empty() && version != "v1" {
        errors.required(&group_at, "only v1 may have an empty group and it better be legacy kube");
    }
    if !group.is_empty() {
        errors.all(&group_at, group, names::dns1123_subdomain(group));
    }
    errors.all(&at.child("version"), version, names::dns1035_label(version));
    for (field, priority, max) in [
        ("groupPriorityMinimum", spec.group_priority_minimum, GROUP_PRIORITY_MAX),
        ("versionPriority", spec.version_priority, VERSION_PRIORITY_MAX),
    ] {
        if priority <= 0 || priority > max {
            errors.invalid(&at.child(field), priority, &format!("must be positive and less than {max}"));
        }
    }
}

fn service(errors: &mut Errors, spec: &APIServiceSpec) {
    let at = Path::root("spec");
    let bundle = spec.ca_bundle.as_ref().map(|bundle| bundle.0.len()).unwrap_or_default();
    let (insecure_at, insecure) = (at.child("insecureSkipTLSVerify"), spec.insecure_skip_tls_verify == Some(true));
    let Some(service) = &spec.service else {
        if bundle > 0 {
            let why = "local APIServices may not have a caBundle";
            errors.invalid(&at.child("caBundle"), format!("{bundle} bytes"), why);
        }
        if insecure {
            errors.invalid(&insecure_at, true, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    };
    let service_at = at.child("service");
    errors.filled(&service_at.child("namespace"), text(&service.namespace));
    errors.filled(&service_at.child("name"), text(&service.name));
    let port = service.port.unwrap_or_default();
    for why in names::port_number(port.into()) {
        errors.invalid(&service_at.child("port"), port, &format!("port is not valid: {why}"));
    }
    if insecure && bundle > 0 {
        errors.invalid(&insecure_at, true, "may not be true if caBundle is present");
    }
}
