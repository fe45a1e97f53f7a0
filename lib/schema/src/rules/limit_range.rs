//! Limit ranges: how little and how much each thing in a namespace may take.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};

use super::check::{Errors, Path};
use super::fields::text;
use super::pod::container_resources::{container_name, standard_name};
use super::pod::defaults::{Amounts, round_up};
use super::pod::pod_resources::may_overcommit;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::quantity::Quantity;
use crate::status::FieldError;
use crate::table;

/// What limits may be on: anything else needs a domain.
const TYPES: &[&str] = &["Pod", "Container", "PersistentVolumeClaim"];

impl Rules for LimitRange {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Create);
    const COLUMNS: &'static [Column<Self>] = &[table::name(), table::created()];

    fn fill_defaults(&mut self) {
        // One that nobody names is named by the server.
        if text(&self.metadata.name).is_empty() && text(&self.metadata.generate_name).is_empty() {
            self.metadata.name.clone_from(&self.metadata.uid);
        }
        for item in self.spec.iter_mut().flat_map(|spec| &mut spec.limits) {
            fill(item);
        }
    }

    fn validate(&self, _: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let at = Path::root("spec");
        let at = at.child("limits");
        let mut seen = BTreeSet::new();
        for (index, item) in self.spec.iter().flat_map(|spec| &spec.limits).enumerate() {
            let at = at.index(index);
            type_name(&mut errors, &at.child("type"), &item.type_);
            if !seen.insert(item.type_.as_str()) {
                errors.duplicate(&at.child("type"), &item.type_);
            }
            limits(&mut errors, &at, item);
        }
        errors.into_vec()
    }
}

/// A container's default limit is the most it may take, its default request the limit, else the least.
fn fill(item: &mut LimitRangeItem) {
    if item.type_ == "Container" {
        let (max, min) = (item.max.clone().unwrap_or_default(), item.min.clone().unwrap_or_default());
        let default = item.default.get_or_insert_default();
        complete(default, max);
        let default = default.clone();
        let request = item.default_request.get_or_insert_default();
        complete(request, default);
        complete(request, min);
    }
    let lists =
        [&mut item.max, &mut item.min, &mut item.default, &mut item.default_request, &mut item.max_limit_request_ratio];
    lists.into_iter().flatten().for_each(round_up);
}

fn complete(amounts: &mut Amounts, from: Amounts) {
    for (name, amount) in from {
        amounts.entry(name).or_insert(amount);
    }
}

fn type_name(errors: &mut Errors, at: &Path<'_>, name: &str) {
    let wrong = names::qualified(name);
    if wrong.is_empty() && !name.contains('/') && !TYPES.contains(&name) {
        errors.invalid(at, name, "must be a standard limit type or fully qualified");
    }
    errors.all(at, name, wrong);
}

fn limits(errors: &mut Errors, at: &Path<'_>, item: &LimitRangeItem) {
    let check = if ["Pod", "Container"].contains(&item.type_.as_str()) { container_name } else { standard_name };
    let filled = |amounts: &Option<Amounts>| amounts.as_ref().is_some_and(|amounts| !amounts.is_empty());
    let pod = item.type_ == "Pod";
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (field, amounts) in [("max", &item.max), ("min", &item.min)] {
        list(errors, &at.child(field), amounts, check, &mut names);
    }
    for (field, amounts) in [("default", &item.default), ("defaultRequest", &item.default_request)] {
        match pod {
            true if filled(amounts) => errors.forbidden(&at.child(field), "may not be specified when `type` is 'Pod'"),
            true => {}
            false => list(errors, &at.child(field), amounts, check, &mut names),
        }
    }
    let stores = |amounts: &Option<Amounts>| amounts.as_ref().is_some_and(|all| all.contains_key("storage"));
    if item.type_ == "PersistentVolumeClaim" && !stores(&item.min) && !stores(&item.max) {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&at.child("limits"), why);
    }
    list(errors, &at.child("maxLimitRequestRatio"), &item.max_limit_request_ratio, check, &mut names);
    for name in names {
        Bounds::of(item, name, pod).check(errors, at, name);
    }
}

fn list<'a>(
    errors: &mut Errors,
    at: &Path<'_>,
    amounts: &'a Option<Amounts>,
    check: fn(&mut Errors, &Path<'_>, &str),
    names: &mut BTreeSet<&'a str>,
) {
    for name in amounts.iter().flat_map(|amounts| amounts.keys()) {
        check(errors, &at.key(name), name);
        names.insert(name);
    }
}

/// What a range says of one resource.
struct Bounds {
    min: Option<Quantity>,
    max: Option<Quantity>,
    default: Option<Quantity>,
    request: Option<Quantity>,
    ratio: Option<Quantity>,
}

impl Bounds {
    fn of(item: &LimitRangeItem, name: &str, pod: bool) -> Self {
        let amount = |amounts: &Option<Amounts>| amounts.as_ref()?.get(name).map(Quantity::from);
        Self {
            min: amount(&item.min),
            max: amount(&item.max),
            default: amount(&item.default).filter(|_| !pod),
            request: amount(&item.default_request).filter(|_| !pod),
            ratio: amount(&item.max_limit_request_ratio),
        }
    }

    fn check(&self, errors: &mut Errors, at: &Path<'_>, name: &str) {
        // What may not be more than what; the field that is blamed, with the value that is shown for it.
        let (min, max, default, request) = (&self.min, &self.max, &self.default, &self.request);
        let pairs = [
            ("min value", min, "max value", max, "min", min),
            ("min value", min, "default request value", request, "defaultRequest", request),
            ("default request value", request, "max value", max, "defaultRequest", request),
            ("default request value", request, "default limit value", default, "defaultRequest", request),
            ("min value", min, "default value", default, "default", min),
            ("default value", default, "max value", max, "default", max),
        ];
        for (less, low, more, high, field, shown) in pairs {
            let (Some(low), Some(high), Some(shown)) = (low, high, shown) else { continue };
            if low > high {
                let why = format!("{less} {low} is greater than {more} {high}");
                errors.invalid(&at.child(field).key(name), shown.to_string(), &why);
            }
        }
        self.ratio(errors, &at.child("maxLimitRequestRatio").key(name));
        if let (Some(default), Some(request)) = (default, request)
            && !may_overcommit(name)
            && default != request
        {
            let why = format!("default value {default} must equal to defaultRequest value {request} in {name}");
            errors.invalid(&at.child("defaultRequest").key(name), request.to_string(), &why);
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "upstream compares and prints ratios as floating-point numbers")]
    fn ratio(&self, errors: &mut Errors, at: &Path<'_>) {
        let Some(ratio) = &self.ratio else { return };
        if *ratio < Quantity::whole(1) {
            errors.invalid(at, ratio.to_string(), &format!("ratio {ratio} is less than 1"));
        }
        let (Some(min), Some(max)) = (&self.min, &self.max) else { return };
        let small = [ratio, min, max].iter().all(|one| one.value() < i64::MAX / 1000);
        let (wanted, span) = if small {
            (ratio.milli_value() as f64 / 1000.0, max.milli_value() as f64 / min.milli_value() as f64)
        } else {
            (ratio.value() as f64, max.value() as f64 / min.value() as f64)
        };
        if wanted > span {
            errors.invalid(at, ratio.to_string(), &format!("ratio {ratio} is greater than max/min = {span:.6}"));
        }
    }
}
