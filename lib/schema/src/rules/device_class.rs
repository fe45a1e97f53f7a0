//! Device classes: the sorts of devices that claims may ask for.

use k8s_openapi::api::resource::v1::{DeviceClass, DeviceClassSpec};

use super::check::{Errors, Path};
use super::device_claim::{CONFIG_MAX, opaque, selectors, several};
use super::fields::list;
use super::parts;
use super::pod::container_resources::is_extended;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::status::FieldError;
use crate::table;

impl Rules for DeviceClass {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[table::name(), table::age()];

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec));
        parts::prepare_spec((&mut self.metadata, &mut self.spec), old, write);
    }

    fn validate(&self, _: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let none = DeviceClassSpec::default();
        let (at, spec) = (Path::root("spec"), self.spec.as_ref().unwrap_or(&none));
        selectors(&mut errors, &at.child("selectors"), list(&spec.selectors));
        several(&mut errors, &at.child("config"), list(&spec.config), CONFIG_MAX, |errors, at, one| {
            opaque(errors, &at.child("opaque"), one.opaque.as_ref());
        });
        if let Some(name) = spec.extended_resource_name.as_ref().filter(|name| !is_extended(name)) {
            errors.invalid(&at.child("extendedResourceName"), name.as_str(), "must be a valid extended resource name");
        }
        errors.into_vec()
    }
}
