//! Which volume a claim can have.
//!
//! Source: `staging/src/k8s.io/component-helpers/storage/volume`, `pkg/controller/volume/persistentvolume/index.go`

use std::collections::BTreeSet;
use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kprov_schema::quantity::Quantity;
use kprov_schema::rules::claim::named_class;
use kprov_schema::selector::Labels;

/// The claim's spec was bound to a volume once and for all.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The binding was found, not asked for: it may be undone.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// The node for which a volume is to be made.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Who made a volume.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Who is to make a volume for a claim, in the two places where provisioners look.
pub const PROVISIONERS: [&str; 2] =
    ["volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner"];

/// What a claim asks for.
#[must_use]
pub fn asked(claim: &PersistentVolumeClaim) -> &PersistentVolumeClaimSpec {
    static NOTHING: LazyLock<PersistentVolumeClaimSpec> = LazyLock::new(PersistentVolumeClaimSpec::default);
    claim.spec.as_ref().unwrap_or(&NOTHING)
}

/// An annotation that is there, whatever its value.
#[must_use]
pub fn has(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, annotation: &str) -> bool {
    metadata.annotations.as_ref().is_some_and(|all| all.contains_key(annotation))
}

/// The storage class of a claim; empty when it is of none.
#[must_use]
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    named_class(&claim.metadata, asked(claim).storage_class_name.as_deref())
}

fn class_of_volume(volume: &PersistentVolume) -> &str {
    let field = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    named_class(&volume.metadata, field)
}

/// Whether volumes of a class wait until it is known where their pods go.
#[must_use]
pub fn waits(class: Option<&StorageClass>) -> bool {
    class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}

/// The name of the volume that a claim is bound to or asks for.
#[must_use]
pub fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    asked(claim).volume_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether a claim is bound for good.
#[must_use]
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_some() && has(&claim.metadata, BIND_COMPLETED)
}

/// Whether a volume names this claim, or a claim of its name whoever it is.
#[must_use]
pub fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(named) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let any_life = named.uid.as_deref().unwrap_or_default().is_empty();
    named.name == claim.metadata.name
        && named.namespace == claim.metadata.namespace
        && (any_life || named.uid == claim.metadata.uid)
}

fn is_taken(volume: &PersistentVolume) -> bool {
    volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some())
}

fn size(volume: &PersistentVolumeSpec) -> Quantity {
    volume.capacity.as_ref().and_then(|all| all.get("storage")).map(Quantity::from).unwrap_or_default()
}

fn asked_size(claim: &PersistentVolumeClaim) -> Quantity {
    let requests = asked(claim).resources.as_ref().and_then(|resources| resources.requests.as_ref());
    requests.and_then(|all| all.get("storage")).map(Quantity::from).unwrap_or_default()
}

/// Whether both are file systems, or both blocks.
#[must_use]
pub fn same_mode(claim: &PersistentVolumeClaim, volume: &PersistentVolumeSpec) -> bool {
    let or_files = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    or_files(&asked(claim).volume_mode) == or_files(&volume.volume_mode)
}

fn modes(list: Option<&Vec<String>>) -> BTreeSet<&str> {
    list.into_iter().flatten().map(String::as_str).collect()
}

fn has_access(claim: &PersistentVolumeClaim, volume: &PersistentVolumeSpec) -> bool {
    modes(asked(claim).access_modes.as_ref()).is_subset(&modes(volume.access_modes.as_ref()))
}

fn attributes(name: Option<&String>) -> &str {
    name.map_or("", String::as_str)
}

/// What speaks against a volume that a claim asks for by name.
pub fn satisfies(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let spec = volume.spec.clone().unwrap_or_default();
    let wanted = attributes(asked(claim).volume_attributes_class_name.as_ref());
    let obstacles = [
        (volume.metadata.deletion_timestamp.is_some(), format!("the volume is marked for deletion {name:?}")),
        (size(&spec).value() < asked_size(claim).value(), "requested PV is too small".to_owned()),
        (class_of_volume(volume) != class_of_claim(claim), "storageClassName does not match".to_owned()),
        (
            attributes(spec.volume_attributes_class_name.as_ref()) != wanted,
            "volumeAttributesClassName does not match".to_owned(),
        ),
        (!same_mode(claim, &spec), "incompatible volumeMode".to_owned()),
        (!has_access(claim, &spec), "incompatible accessMode".to_owned()),
    ];
    obstacles.into_iter().find(|(there, _)| *there).map_or(Ok(()), |(_, why)| Err(why))
}

/// Where a volume is looked for.
#[derive(Clone, Copy)]
pub enum Where<'a> {
    /// Anywhere.
    Anywhere,
    /// Nowhere yet: only what is set aside for the claim by name counts.
    Later,
    /// Where this holds.
    Reachable(&'a dyn Fn(&PersistentVolume) -> bool),
}

/// The volume that a claim gets: what is set aside for it, else the smallest that is large enough, of those with the
/// fewest access modes beside the ones it asks for.
pub fn find<'a, V: std::ops::Deref<Target = PersistentVolume>>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [V],
    place: Where<'_>,
) -> Option<&'a V> {
    let selector = asked(claim).selector.as_ref();
    let labels = selector.map(|selector| Labels::of(selector).unwrap_or_else(|_| Labels::nothing()));
    let reachable = |volume: &PersistentVolume| match place {
        Where::Reachable(holds) => holds(volume),
        _ => true,
    };
    let mut candidates: Vec<(usize, Quantity, &'a V)> = Vec::new();
    for volume in volumes {
        let Some(spec) = volume.spec.as_ref().filter(|spec| has_access(claim, spec)) else { continue };
        let fits = size(spec) >= asked_size(claim)
            && same_mode(claim, spec)
            && attributes(spec.volume_attributes_class_name.as_ref())
                == attributes(asked(claim).volume_attributes_class_name.as_ref())
            && volume.metadata.deletion_timestamp.is_none();
        if !fits || (is_taken(volume) && !is_for(volume, claim)) {
            continue;
        }
        if is_for(volume, claim) {
            return reachable(volume).then_some(volume);
        }
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        let label = |key: &str| volume.metadata.labels.as_ref().and_then(|all| all.get(key)).map(String::as_str);
        let free = !matches!(place, Where::Later)
            && phase == Some("Available")
            && labels.as_ref().is_none_or(|labels| labels.matches(label))
            && class_of_volume(volume) == class_of_claim(claim)
            && reachable(volume);
        if free {
            candidates.push((modes(spec.access_modes.as_ref()).len(), size(spec), volume));
        }
    }
    candidates.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    candidates.first().map(|(_, _, volume)| *volume)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kprov_schema::{Object, Typed};
    use serde_json::{Value, json};

    use super::*;

    fn read<T: Typed>(value: Value) -> T {
        T::from_object(&Object::try_from(value).unwrap()).unwrap()
    }

    fn volume(name: &str, more: Value) -> Arc<PersistentVolume> {
        let mut spec =
            json!({"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "c"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let labels = json!({"name": name});
        Arc::new(read(
            json!({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": "Available"}}),
        ))
    }

    fn claim(more: Value) -> PersistentVolumeClaim {
        let mut spec = json!({"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteOnce"], "storageClassName": "c"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(json!({"metadata": {"name": "x", "namespace": "n", "uid": "u"}, "spec": spec}))
    }

    fn volumes() -> Vec<Arc<PersistentVolume>> {
        vec![
            volume("many", json!({"accessModes": ["ReadWriteOnce", "ReadWriteMany"], "capacity": {"storage": "1Gi"}})),
            volume("large", json!({"capacity": {"storage": "5Gi"}})),
            volume("fitting", json!({})),
            volume("other", json!({"storageClassName": "d", "capacity": {"storage": "1Gi"}})),
            volume("blocks", json!({"volumeMode": "Block", "capacity": {"storage": "1Gi"}})),
        ]
    }

    fn found(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>], place: Where<'_>) -> String {
        find(claim, volumes, place).and_then(|volume| volume.metadata.name.clone()).unwrap_or_default()
    }

    #[test]
    fn the_smallest_with_the_fewest_modes_is_best() {
        let all = volumes();
        for (more, wanted) in [
            (json!({}), "fitting"),
            (json!({"accessModes": ["ReadWriteMany"]}), "many"),
            (json!({"resources": {"requests": {"storage": "3Gi"}}}), "large"),
            (json!({"resources": {"requests": {"storage": "9Gi"}}}), ""),
            (json!({"volumeMode": "Block"}), "blocks"),
            (json!({"storageClassName": "d"}), "other"),
            (json!({"selector": {"matchLabels": {"name": "large"}}}), "large"),
            (json!({"accessModes": ["ReadOnlyMany"]}), ""),
        ] {
            assert_eq!(found(&claim(more.clone()), &all, Where::Anywhere), wanted, "{more}");
        }
        let reachable = |volume: &PersistentVolume| volume.metadata.name.as_deref() == Some("large");
        assert_eq!(found(&claim(json!({})), &all, Where::Reachable(&reachable)), "large");
        assert_eq!(found(&claim(json!({})), &all, Where::Later), "");
    }

    #[test]
    fn what_is_set_aside_for_the_claim_wins_and_for_another_does_not_count() {
        let mut all = volumes();
        all.push(volume("mine", json!({"claimRef": {"namespace": "n", "name": "x"}, "storageClassName": "d"})));
        assert_eq!(found(&claim(json!({})), &all, Where::Later), "mine");
        all[2] = volume("fitting", json!({"claimRef": {"namespace": "n", "name": "x", "uid": "before"}}));
        all.pop();
        assert_eq!(found(&claim(json!({})), &all, Where::Anywhere), "large");
    }

    #[test]
    fn a_volume_asked_for_by_name_must_do() {
        let check = |volume_more: Value, claim_more: Value| {
            satisfies(&volume("v", volume_more), &claim(claim_more)).err().unwrap_or_default()
        };
        assert_eq!(check(json!({}), json!({})), "");
        assert_eq!(check(json!({"capacity": {"storage": "1Mi"}}), json!({})), "requested PV is too small");
        assert_eq!(check(json!({}), json!({"storageClassName": ""})), "storageClassName does not match");
        assert_eq!(check(json!({"volumeMode": "Block"}), json!({})), "incompatible volumeMode");
        assert_eq!(check(json!({}), json!({"accessModes": ["ReadWriteMany"]})), "incompatible accessMode");
    }
}
