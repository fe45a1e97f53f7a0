//! Stateful sets: pods with names and volumes that last.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::pod::defaults::default_text;
use super::pod::{defaults, same, validate, warnings};
use super::{claim, parts, scale};
use crate::internal::shown;
use crate::kind::{Column, Rules, Subresource, Write};
use crate::meta::MetaRules;
use crate::names::{self, NameRule};
use crate::object::Object;
use crate::status::FieldError;
use crate::table;

impl Rules for StatefulSet {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status, Subresource::Scale];
    const META: MetaRules = MetaRules::COMMON.named(NameRule::Label);
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Ready", "Number of the pod with ready state", |it, _| {
            let ready = it.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
            format!("{ready}/{}", it.spec.replicas.unwrap_or_default()).into()
        }),
        table::age(),
        table::wide("Containers", scale::CONTAINERS, |it, _| table::containers(containers(it))),
        table::wide("Images", scale::IMAGES, |it, _| table::images(containers(it))),
    ];

    fn note_empty(&mut self, object: &Object) {
        scale::note_empty_selector(&mut self.spec.selector, object);
    }

    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        default_text(&mut spec.pod_management_policy, "OrderedReady");
        default_strategy(spec.update_strategy.get_or_insert_default());
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        default_text(&mut retention.when_deleted, "Retain");
        default_text(&mut retention.when_scaled, "Retain");
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        defaults::template(&mut spec.template);
        spec.volume_claim_templates.iter_mut().flatten().for_each(claim::fill_defaults);
    }

    fn fill_untyped(object: &mut Object) {
        let templates = object.map_mut().get_mut("spec").and_then(|spec| spec.get_mut("volumeClaimTemplates"));
        for template in templates.and_then(|all| all.as_array_mut()).into_iter().flatten() {
            if let Some(map) = template.as_object_mut() {
                map.insert("apiVersion".to_owned(), json!("v1"));
                map.insert("kind".to_owned(), json!("PersistentVolumeClaim"));
            }
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        if write != Write::Status {
            drop_unavailable(&mut self.spec, old.map(|old| &old.spec));
        }
        let old = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare_counted((&mut self.metadata, &mut self.spec, &mut self.status), old, write);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        match (old, write) {
            (Some(old), Write::Status) => status(&mut errors, self, old),
            (None, _) => spec(&mut errors, &self.spec, None),
            (Some(old), _) => {
                spec(&mut errors, &self.spec, Some(&old.spec));
                immutable(&mut errors, &self.spec, &old.spec);
            }
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let at = Path::root("spec");
        let mut found = Vec::new();
        if old.is_none_or(|old| old.metadata.generation != self.metadata.generation) {
            found.extend(warnings::template(&at.child("template"), &self.spec.template));
        }
        let templates = at.child("volumeClaimTemplates");
        for (index, template) in list(&self.spec.volume_claim_templates).iter().enumerate() {
            let at = templates.index(index);
            // Upstream names the spec on an update only.
            let spec_at = at.child("Spec");
            let at = if old.is_some() { &spec_at } else { &at };
            found.extend(claim::warnings(at, template.spec.as_ref()));
        }
        if self.spec.revision_history_limit.is_some_and(|limit| limit < 0) {
            let advice = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 \
                          is recommended";
            found.push(advice.to_owned());
        }
        found
    }
}

fn containers(it: &StatefulSet) -> &[Container] {
    scale::containers(Some(&it.spec.template))
}

fn default_strategy(strategy: &mut StatefulSetUpdateStrategy) {
    if text(&strategy.type_).is_empty() {
        strategy.type_ = Some("RollingUpdate".to_owned());
        strategy.rolling_update.get_or_insert_default();
    }
    if let Some(rolling) =
        strategy.rolling_update.as_mut().filter(|_| strategy.type_.as_deref() == Some("RollingUpdate"))
    {
        rolling.partition.get_or_insert(0);
    }
}

/// How many pods may be unavailable is not to be chosen yet, unless an older server took it.
fn drop_unavailable(spec: &mut StatefulSetSpec, old: Option<&StatefulSetSpec>) {
    let of = |spec: &StatefulSetSpec| {
        let rolling = spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        rolling.and_then(|rolling| rolling.max_unavailable.clone())
    };
    let rolling = spec.update_strategy.as_mut().and_then(|strategy| strategy.rolling_update.as_mut());
    if let Some(rolling) = rolling.filter(|_| old.and_then(of).is_none()) {
        rolling.max_unavailable = None;
    }
}

fn spec(errors: &mut Errors, spec: &StatefulSetSpec, old: Option<&StatefulSetSpec>) {
    let at = Path::root("spec");
    let policy = text(&spec.pod_management_policy);
    if !matches!(policy, "OrderedReady" | "Parallel") && errors.filled(&at.child("podManagementPolicy"), policy) {
        errors.invalid(&at.child("podManagementPolicy"), policy, "must be 'OrderedReady' or 'Parallel'");
    }
    strategy(errors, &at.child("updateStrategy"), spec.update_strategy.as_ref());
    let retention = spec.persistent_volume_claim_retention_policy.clone().unwrap_or_default();
    let retention_at = at.child("persistentVolumeClaimRetentionPolicy");
    for (field, policy) in [("whenDeleted", &retention.when_deleted), ("whenScaled", &retention.when_scaled)] {
        errors.one_of(&retention_at.child(field), text(policy), &["Retain", "Delete"]);
    }
    if old.is_none() {
        claim_templates(errors, &at.child("volumeClaimTemplates"), list(&spec.volume_claim_templates));
    }
    errors.non_negative(&at.child("replicas"), spec.replicas.unwrap_or_default().into());
    errors.non_negative(&at.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or_default().into());
    if let Some(ordinals) = &spec.ordinals {
        let at = at.child("ordinals");
        errors.non_negative(&at.child("start"), ordinals.start.unwrap_or_default().into());
    }
    let service = text(&spec.service_name);
    if old.is_none() && !service.is_empty() {
        errors.all(&at.child("serviceName"), service, names::dns1123_label(service));
    }
    let empty = "empty selector is invalid for statefulset";
    let labels = scale::workload_selector(errors, &at.child("selector"), &spec.selector, empty, "");
    let template_at = at.child("template");
    if let Some(labels) = &labels {
        let template = with_claims(spec);
        scale::selected_template(errors, &template_at, &template, labels);
        template_again(errors, &template_at, &template, old);
    }
    scale::runs_for_ever(errors, &template_at, &spec.template, "StatefulSet");
}

/// Upstream looks at labels and annotations of the template twice.
fn template_again(errors: &mut Errors, at: &Path<'_>, template: &PodTemplateSpec, old: Option<&StatefulSetSpec>) {
    let tolerated = old.is_some_and(|old| {
        let mut errors = Errors::default();
        validate::template(&mut errors, &Path::root("template"), &with_claims(old), None);
        errors.count() > 0
    });
    if !tolerated {
        validate::template(errors, at, template, old.map(|old| &old.template));
    }
    validate::template_metadata(errors, at, template);
}

/// The template as its pods will have it: with the volumes that the claims become.
fn with_claims(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let Some(pod) = &mut template.spec else { return template };
    pod.subdomain = None;
    pod.hostname = None;
    let claims = list(&spec.volume_claim_templates);
    if claims.is_empty() {
        return template;
    }
    let name = |claim: &PersistentVolumeClaim| claim.metadata.name.clone().unwrap_or_default();
    let own = pod.volumes.take().unwrap_or_default();
    let mut volumes: Vec<Volume> = claims
        .iter()
        .map(|claim| Volume {
            name: name(claim),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: name(claim),
                read_only: None,
            }),
            ..Volume::default()
        })
        .collect();
    // Of claims with one name the last counts.
    let mut seen = BTreeSet::new();
    volumes = volumes.into_iter().rev().filter(|volume| seen.insert(volume.name.clone())).collect();
    volumes.reverse();
    volumes.extend(own.into_iter().filter(|volume| !claims.iter().any(|claim| name(claim) == volume.name)));
    pod.volumes = Some(volumes);
    template
}

fn strategy(errors: &mut Errors, at: &Path<'_>, strategy: Option<&StatefulSetUpdateStrategy>) {
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let rolling_at = at.child("rollingUpdate");
    match (strategy.map(|strategy| text(&strategy.type_)).unwrap_or_default(), rolling) {
        ("", _) => errors.required(at, ""),
        ("OnDelete", Some(rolling)) => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid_written(&rolling_at, &shown("api.apps.v1.RollingUpdateStatefulSetStrategy", rolling), why);
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        ("RollingUpdate", Some(rolling)) => {
            errors.non_negative(&rolling_at.child("partition"), rolling.partition.unwrap_or_default().into());
            if let Some(most) = &rolling.max_unavailable {
                max_unavailable(errors, &rolling_at.child("maxUnavailable"), most);
            }
        }
        _ => {
            let shown = shown("api.apps.v1.StatefulSetUpdateStrategy", &strategy);
            errors.invalid_written(at, &shown, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

fn max_unavailable(errors: &mut Errors, at: &Path<'_>, most: &IntOrString) {
    scale::count_or_percent(errors, at, most);
    if scale::number(most) == 0 {
        errors.invalid(at, json!(most), "cannot be 0");
    }
    scale::at_most_all(errors, at, most);
}

fn claim_templates(errors: &mut Errors, at: &Path<'_>, templates: &[PersistentVolumeClaim]) {
    for (index, template) in templates.iter().enumerate() {
        let at = at.index(index);
        claim::spec(errors, &at.child("spec"), &template.spec.clone().unwrap_or_default());
    }
}

fn immutable(errors: &mut Errors, new: &StatefulSetSpec, old: &StatefulSetSpec) {
    let rest = StatefulSetSpec {
        replicas: old.replicas,
        template: old.template.clone(),
        update_strategy: old.update_strategy.clone(),
        min_ready_seconds: old.min_ready_seconds,
        ordinals: old.ordinals.clone(),
        revision_history_limit: old.revision_history_limit,
        persistent_volume_claim_retention_policy: old.persistent_volume_claim_retention_policy.clone(),
        ..new.clone()
    };
    if !same(&rest, old) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                   'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                   'minReadySeconds' are forbidden";
        errors.forbidden(&Path::root("spec"), why);
    }
}

fn status(errors: &mut Errors, new: &StatefulSet, old: &StatefulSet) {
    let at = Path::root("status");
    let none = StatefulSetStatus::default();
    let (status, before) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let number = |count: Option<i32>| i64::from(count.unwrap_or_default());
    let (ready, available) = (number(status.ready_replicas), number(status.available_replicas));
    let (current, updated) = (number(status.current_replicas), number(status.updated_replicas));
    let numbers = [
        ("replicas", status.replicas.into()),
        ("readyReplicas", ready),
        ("currentReplicas", current),
        ("updatedReplicas", updated),
        ("availableReplicas", available),
        ("observedGeneration", status.observed_generation.unwrap_or_default()),
        ("collisionCount", number(status.collision_count)),
    ];
    scale::non_negatives(errors, &at, &numbers);
    let parts = [
        ("readyReplicas", ready),
        ("currentReplicas", current),
        ("updatedReplicas", updated),
        ("availableReplicas", available),
    ];
    for (field, count) in parts.iter().filter(|(_, count)| *count > status.replicas.into()) {
        errors.invalid(&at.child(field), *count, "cannot be greater than status.replicas");
    }
    if available > ready {
        errors.invalid(&at.child("availableReplicas"), available, "cannot be greater than status.readyReplicas");
    }
    if number(status.collision_count) < number(before.collision_count) {
        errors.invalid(&at.child("collisionCount"), number(status.collision_count), "cannot be decremented");
    }
}
