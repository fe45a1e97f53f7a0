//! Volume attributes classes: what a driver is told of how good a volume is to be.

use k8s_openapi::api::storage::v1::VolumeAttributesClass;

use super::check::{Errors, Path};
use super::storage_class::{parameters, provisioner};
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::status::FieldError;
use crate::table;

impl Rules for VolumeAttributesClass {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("DriverName", "Name of the CSI driver This field is immutable.", |it, _| {
            it.driver_name.as_str().into()
        }),
        table::age(),
    ];

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let (driver_at, parameters_at) = (Path::root("driverName"), Path::root("parameters"));
        if let Some(old) = old {
            if self.driver_name != old.driver_name {
                errors.forbidden(&driver_at, "updates to driverName are forbidden.");
            }
            if self.parameters != old.parameters {
                errors.forbidden(&parameters_at, "updates to parameters are forbidden.");
            }
        }
        provisioner(&mut errors, &driver_at, &self.driver_name);
        parameters(&mut errors, &parameters_at, self.parameters.as_ref());
        if self.parameters.as_ref().is_none_or(|all| all.is_empty()) {
            errors.required(&parameters_at, "must contain at least one key/value pair");
        }
        errors.into_vec()
    }
}
