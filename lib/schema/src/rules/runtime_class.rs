//! Runtime classes: what runs the containers of the pods that name one.

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};

use super::check::{Errors, Path};
use super::fields::list;
use super::pod::container_resources::overhead;
use super::pod::placement::tolerations;
use super::pod::warnings::deprecated_label;
use crate::internal::shown;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::status::FieldError;
use crate::table;

impl Rules for RuntimeClass {
    const META: MetaRules = MetaRules { unconditional: false, ..MetaRules::COMMON }.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] =
        &[table::name(), table::text("Handler", "", |it, _| it.handler.as_str().into()), table::age()];

    fn fill_defaults(&mut self) {
        if let Some(fixed) = self.overhead.as_mut().and_then(|overhead| overhead.pod_fixed.as_mut()) {
            super::pod::defaults::round_up(fixed);
        }
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let handler_at = Path::root("handler");
        errors.filled_all(&handler_at, &self.handler, names::dns1123_label);
        if let Some(fixed) = self.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.as_ref()) {
            overhead(&mut errors, &Path::root("overhead"), fixed);
        }
        if let Some(scheduling) = &self.scheduling {
            self::scheduling(&mut errors, &Path::root("scheduling"), scheduling);
        }
        if let Some(old) = old {
            errors.immutable(&handler_at, &self.handler, &old.handler);
        }
        errors.into_vec()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        let selector = self.scheduling.as_ref().and_then(|scheduling| scheduling.node_selector.as_ref());
        let outdated = selector.into_iter().flatten().filter_map(|(key, _)| deprecated_label(key));
        outdated.map(|why| format!("scheduling.nodeSelector: {why}")).collect()
    }
}

fn scheduling(errors: &mut Errors, at: &Path<'_>, scheduling: &Scheduling) {
    if let Some(labels) = &scheduling.node_selector {
        errors.labels(&at.child("nodeSelector"), labels);
    }
    let (at, all) = (at.child("tolerations"), list(&scheduling.tolerations));
    tolerations(errors, &at, all);
    for (index, one) in all.iter().enumerate() {
        if all[..index].iter().any(|before| tolerate_alike(before, one)) {
            let whole = shown("api.core.v1.Toleration", one);
            errors.duplicate_written(&at.index(index), &whole);
        }
    }
}

fn tolerate_alike(a: &Toleration, b: &Toleration) -> bool {
    (&a.key, &a.operator, &a.value, &a.effect) == (&b.key, &b.operator, &b.value, &b.effect)
}
