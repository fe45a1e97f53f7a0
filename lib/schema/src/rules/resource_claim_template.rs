//! Templates of resource claims: from which pods get claims of their own.

use k8s_openapi::api::resource::v1::{ResourceClaimTemplate, ResourceClaimTemplateSpec};

use super::check::{Errors, Path};
use super::{claim, device_claim};
use crate::internal::shown;
use crate::kind::{Column, Rules, Write};
use crate::meta::MetaRules;
use crate::status::FieldError;
use crate::table;

impl Rules for ResourceClaimTemplate {
    const META: MetaRules = MetaRules::COMMON;
    const COLUMNS: &'static [Column<Self>] = &[table::name(), table::age()];

    fn fill_defaults(&mut self) {
        let claim = self.spec.as_mut().and_then(|template| template.spec.as_mut());
        claim.into_iter().for_each(device_claim::fill_defaults);
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let none = ResourceClaimTemplateSpec::default();
        let (at, spec) = (Path::root("spec"), self.spec.as_ref().unwrap_or(&none));
        match old {
            None => {
                claim::template_metadata(&mut errors, &at.child("metadata"), spec.metadata.as_ref());
                device_claim::claim(&mut errors, &at.child("spec"), spec.spec.as_ref());
            }
            Some(old) if old.spec != self.spec => {
                let whole = shown("api.resource.v1.ResourceClaimTemplateSpec", spec);
                errors.invalid_written(&at, &whole, "field is immutable");
            }
            Some(_) => {}
        }
        errors.into_vec()
    }
}
