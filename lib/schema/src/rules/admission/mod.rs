//! What has a say in requests: policies and their bindings, and what is common to them.

mod binding;
mod matching;
mod policy;

use crate::meta::{MetaRules, Repeats};

/// How the metadata of these kinds is judged.
const META: MetaRules =
    MetaRules { on_update: Repeats::Create, finalizers: false, unconditional: false, ..MetaRules::COMMON };

/// What names of configurations from files end with.
const STATIC: &str = ".static.k8s.io";

fn name_warnings(name: &str) -> Vec<String> {
    let why = "are reserved for static manifest-based configurations and cannot be managed via the API";
    let told = name.ends_with(STATIC).then(|| format!("metadata.name: names ending with \"{STATIC}\" {why}"));
    told.into_iter().collect()
}
