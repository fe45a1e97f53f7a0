//! The manifests of the tutorials as builders: each function says what the file of its row says in `tutorials/`.

pub mod config;
pub mod ingress;
pub mod pods;
pub mod security;
pub mod services;
pub mod stateful;
pub mod storage;

use kprov::Bundle;
use kprov::k8s_openapi::Resource;
use kprov::k8s_openapi::serde::Serialize;

/// A file in `tutorials/` and the program that says the same.
pub type Tutorial = (&'static str, fn() -> Bundle);

/// The tables of the sections.
const SECTIONS: &[&[Tutorial]] = &[
    pods::TUTORIALS,
    services::TUTORIALS,
    ingress::TUTORIALS,
    storage::TUTORIALS,
    config::TUTORIALS,
    stateful::TUTORIALS,
    security::TUTORIALS,
];

/// Every tutorial that has a builder form.
///
/// ```
/// let (file, program) = kprov_examples::tutorials::all().next().expect("there are some");
/// assert_eq!((file, program().objects().len()), ("s01-naked-pod.yaml", 1));
/// ```
pub fn all() -> impl Iterator<Item = Tutorial> {
    SECTIONS.iter().copied().flatten().copied()
}

/// A bundle of one object, which gives it its name.
fn only<K: Resource + Serialize + kprov::build::Object>(object: K) -> Bundle {
    let mut bundle = Bundle::new(object.name());
    bundle.add(object);
    bundle
}
