//! What must be true of the cluster for a write to go ahead, as a table of named steps.

mod addresses;
mod certificates;
mod default_class;
mod limit_ranger;
mod namespace;
mod node;
mod pod;
mod pod_security;
mod policy;
mod priority_class;
mod quota;
mod runtime_class;
mod service_account;
mod storage;

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kprov_schema::kind::Write;
use kprov_schema::{Kind, Object, Resource, Status, Subresource};

pub(crate) use addresses::{Addresses, Ranges};
pub(crate) use policy::{Policies, action};
pub(crate) use quota::Charge;

use super::core::Core;
use super::rbac::escalation;
use super::target::Target;
use super::user::User;
use crate::store::{CommitError, Committed, Txn};

/// Who wants to write what.
pub(crate) struct Intent<'a> {
    /// The server.
    pub(crate) core: &'a Core,
    /// Who asks.
    pub(crate) user: &'a User,
    /// The object.
    pub(crate) target: &'a Target,
    /// The object before; `None` for a creation.
    pub(crate) old: Option<&'a Arc<Object>>,
    /// Nothing will be written.
    pub(crate) dry_run: bool,
}

/// What steps leave behind beside the changed object.
#[derive(Default)]
pub(crate) struct Effects {
    /// Advice for the client.
    pub(crate) warnings: Vec<String>,
    held: Vec<addresses::Held>,
}

impl Effects {
    /// Advice that came up before.
    pub(crate) fn with(warnings: Vec<String>) -> Self {
        Self { warnings, held: Vec::new() }
    }

    /// Gives back what was set aside.
    pub(crate) fn forget(&mut self) {
        self.held.clear();
    }

    /// Commits what the effects are of: what was set aside is kept with it. Until it goes ahead, it may be tried again.
    ///
    /// That happens also when nobody waits for it any more: a client that hangs up must not make free what is on disk.
    pub(crate) async fn settle(&mut self, core: &Core, txn: Txn) -> Result<Committed, CommitError> {
        let (store, held) = (core.store.clone(), std::mem::take(&mut self.held));
        if held.is_empty() {
            return store.commit(txn).await;
        }
        let committing = tokio::spawn(async move {
            let committed = store.commit(txn).await;
            let end = match &committed {
                Ok(_) => addresses::Held::keep,
                Err(CommitError::Full { .. } | CommitError::Failed { .. }) => addresses::Held::leave,
                Err(CommitError::Conflict { .. } | CommitError::Twice { .. } | CommitError::Closed) => {
                    return (committed, held);
                }
            };
            held.into_iter().for_each(end);
            (committed, Vec::new())
        });
        // It is neither aborted nor does it panic; what is left is a runtime that ends.
        let (committed, left) = committing.await.unwrap_or((Err(CommitError::Closed), Vec::new()));
        self.held = left;
        committed
    }
}

/// A step that may change the object or refuse it.
struct Step {
    /// Upstream's name of it.
    name: &'static str,
    /// What it looks at; `None` is everything.
    resource: Option<Resource>,
    run: fn(&Intent<'_>, &mut Object) -> Result<(), Status>,
}

const PODS: Resource = Resource::of::<Pod>();
const NODES: Resource = Resource::of::<Node>();
const CLAIMS: Resource = Resource::of::<PersistentVolumeClaim>();
const VOLUMES: Resource = Resource::of::<PersistentVolume>();
const PRIORITY_CLASSES: Resource = Resource::of::<PriorityClass>();

const REQUESTS: Resource = Resource::of::<CertificateSigningRequest>();

/// Upstream's order.
const STEPS: &[Step] = &[
    Step { name: "NamespaceLifecycle", resource: None, run: namespace::exists },
    Step { name: "LimitRanger", resource: Some(PODS), run: limit_ranger::fill },
    Step { name: "ServiceAccount", resource: Some(PODS), run: service_account::admit },
    Step { name: "NodeRestriction", resource: Some(NODES), run: node::own_node },
    Step { name: "NodeRestriction", resource: Some(Resource::of::<Lease>()), run: node::own_lease },
    Step { name: "TaintNodesByCondition", resource: Some(NODES), run: node::taint },
    Step { name: "RBAC", resource: Some(Resource::of::<Role>()), run: escalation::role },
    Step { name: "RBAC", resource: Some(Resource::of::<ClusterRole>()), run: escalation::cluster_role },
    Step { name: "RBAC", resource: Some(Resource::of::<RoleBinding>()), run: escalation::role_binding },
    Step { name: "RBAC", resource: Some(Resource::of::<ClusterRoleBinding>()), run: escalation::cluster_role_binding },
    Step { name: "Priority", resource: Some(PODS), run: pod::priority },
    Step { name: "Priority", resource: Some(PRIORITY_CLASSES), run: priority_class::only_default },
    Step { name: "DefaultTolerationSeconds", resource: Some(PODS), run: pod::tolerations },
    Step { name: "DefaultStorageClass", resource: Some(CLAIMS), run: storage::default_class },
    Step { name: "StorageObjectInUseProtection", resource: Some(VOLUMES), run: storage::protect_volume },
    Step { name: "StorageObjectInUseProtection", resource: Some(CLAIMS), run: storage::protect_claim },
    Step {
        name: "StorageObjectInUseProtection",
        resource: Some(Resource::of::<VolumeAttributesClass>()),
        run: storage::protect_attributes_class,
    },
    Step { name: "DefaultIngressClass", resource: Some(Resource::of::<Ingress>()), run: default_class::ingress },
    Step { name: "CertificateRequestor", resource: Some(REQUESTS), run: certificates::note_who },
    Step { name: "RuntimeClass", resource: Some(PODS), run: runtime_class::fill },
];

/// What is asked of a status that is written, and what the server adds to it.
const STATUS_STEPS: &[Step] = &[
    Step { name: "NodeRestriction", resource: Some(PODS), run: node::own_pod_status },
    Step { name: "NodeRestriction", resource: Some(NODES), run: node::own_node },
    Step { name: "CertificateConditions", resource: Some(REQUESTS), run: certificates::condition_times },
    Step { name: "PersistentVolumeStatus", resource: Some(VOLUMES), run: storage::phase_time },
];

/// The door by which requests for certificates are approved and denied.
const APPROVAL: Write = Write::Other(Subresource::Approval);

/// What the server adds to an approval.
const APPROVAL_STEPS: &[Step] =
    &[Step { name: "CertificateConditions", resource: Some(REQUESTS), run: certificates::condition_times }];

/// A step that may only refuse an object, which nothing else is wrong with, or give advice about it.
struct Judge {
    /// Upstream's name of it.
    name: &'static str,
    /// What it looks at; `None` is everything.
    resource: Option<Resource>,
    /// The doors at which it stands.
    stands_at: fn(Write) -> bool,
    run: fn(&Intent<'_>, &Object, &mut Vec<String>) -> Result<(), Status>,
}

/// The door of objects themselves.
fn itself(door: Write) -> bool {
    door == Write::Main
}

/// The doors through which pods get containers, or others.
fn containers(door: Write) -> bool {
    itself(door) || matches!(door, Write::Other(Subresource::EphemeralContainers | Subresource::Resize))
}

/// Every door at which a client says what shall be.
fn written(door: Write) -> bool {
    !matches!(door, Write::Other(Subresource::Binding | Subresource::Eviction))
}

const NAMESPACES: Resource = Resource::of::<Namespace>();

/// Upstream's order.
const JUDGES: &[Judge] = &[
    Judge { name: "LimitRanger", resource: Some(PODS), stands_at: itself, run: limit_ranger::pod },
    Judge { name: "LimitRanger", resource: Some(CLAIMS), stands_at: itself, run: limit_ranger::claim },
    Judge { name: "PodSecurity", resource: Some(PODS), stands_at: containers, run: pod_security::pod },
    Judge { name: "PodSecurity", resource: Some(NAMESPACES), stands_at: itself, run: pod_security::namespace },
    Judge { name: "PodSecurity", resource: None, stands_at: itself, run: pod_security::template },
    Judge { name: "PersistentVolumeClaimResize", resource: Some(CLAIMS), stands_at: itself, run: storage::may_grow },
    Judge {
        name: "CertificateApproval",
        resource: Some(REQUESTS),
        stands_at: |door| door == APPROVAL,
        run: certificates::may_approve,
    },
    Judge {
        name: "CertificateSigning",
        resource: Some(REQUESTS),
        stands_at: |door| door == Write::Status,
        run: certificates::may_sign,
    },
    Judge { name: "CertificateRequests", resource: Some(REQUESTS), stands_at: itself, run: certificates::readable },
    Judge { name: "RuntimeClass", resource: Some(PODS), stands_at: itself, run: runtime_class::matches },
    Judge { name: "ValidatingAdmissionPolicy", resource: None, stands_at: written, run: policy::write },
];

fn concerns(resource: Option<&Resource>, kind: &Kind) -> bool {
    resource.is_none_or(|resource| kind.resource.is_version_of(resource))
}

/// Runs the steps of a door over an object that is to be written through it.
pub(crate) fn admit(intent: &Intent<'_>, door: Write, object: &mut Object) -> Result<(), Status> {
    let steps = match door {
        Write::Main => STEPS,
        Write::Status => STATUS_STEPS,
        APPROVAL => APPROVAL_STEPS,
        Write::Other(_) => &[],
    };
    for step in steps.iter().filter(|step| concerns(step.resource.as_ref(), &intent.target.kind)) {
        (step.run)(intent, object).inspect_err(|status| refused(step.name, intent, status))?;
    }
    Ok(())
}

/// Whether the cluster takes an object that nothing else is wrong with; what it advises is added to `warnings`.
pub(crate) fn judge(
    intent: &Intent<'_>,
    door: Write,
    object: &Object,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let stands = |judge: &&Judge| (judge.stands_at)(door) && concerns(judge.resource.as_ref(), &intent.target.kind);
    for judge in JUDGES.iter().filter(stands) {
        (judge.run)(intent, object, warnings).inspect_err(|status| refused(judge.name, intent, status))?;
    }
    Ok(())
}

fn refused(step: &str, intent: &Intent<'_>, status: &Status) {
    tracing::debug!(step, object = %intent.target.key, %status, "refused");
}

/// What may refuse the deletion of an object: of what, the question.
type Objection = (Resource, fn(&Intent<'_>) -> Result<(), Status>);

const OBJECTIONS: &[Objection] =
    &[(NAMESPACES, namespace::may_go), (PODS, node::own_pod), (PRIORITY_CLASSES, priority_class::may_go)];

/// Whether an object may be deleted; what is advised is added to `warnings`.
pub(crate) fn admit_deletion(intent: &Intent<'_>, warnings: &mut Vec<String>) -> Result<(), Status> {
    may_go(intent)?;
    policy::deletion(intent, warnings)
}

/// Whether an object may go, whoever sends it away.
pub(crate) fn may_go(intent: &Intent<'_>) -> Result<(), Status> {
    OBJECTIONS
        .iter()
        .filter(|(resource, _)| concerns(Some(resource), &intent.target.kind))
        .try_for_each(|(_, may_go)| may_go(intent))
}

/// What of the cluster objects of a kind take.
struct Allocation {
    resource: Resource,
    take: fn(&Intent<'_>, &mut Object) -> Result<Option<addresses::Held>, Status>,
    /// What it has, to be given back.
    leaving: fn(&Core, &Object) -> addresses::Held,
}

const ALLOCATIONS: &[Allocation] = &[Allocation {
    resource: Resource::of::<Service>(),
    take: addresses::allocate,
    leaving: |core, service| core.addresses.leaving(service),
}];

fn allocations(kind: &Kind) -> impl Iterator<Item = &'static Allocation> {
    ALLOCATIONS.iter().filter(|one| concerns(Some(&one.resource), kind))
}

/// Sets aside what the object takes of the cluster; runs when nothing else is wrong with it.
pub(crate) fn allocate(intent: &Intent<'_>, object: &mut Object, effects: &mut Effects) -> Result<(), Status> {
    for one in allocations(&intent.target.kind) {
        effects.held.extend((one.take)(intent, object)?);
    }
    Ok(())
}

/// What an object took is to be given back when the effects settle: it goes.
pub(crate) fn release(core: &Core, kind: &Kind, object: &Object, effects: &mut Effects) {
    effects.held.extend(allocations(kind).map(|one| (one.leaving)(core, object)));
}

/// What the rows of the tables are about.
#[cfg(test)]
pub(super) fn rows() -> Vec<Resource> {
    let steps = STEPS.iter().chain(STATUS_STEPS).chain(APPROVAL_STEPS).filter_map(|step| step.resource.clone());
    let judges = JUDGES.iter().filter_map(|judge| judge.resource.clone());
    let objections = OBJECTIONS.iter().map(|(resource, _)| resource.clone());
    let allocations = ALLOCATIONS.iter().map(|one| one.resource.clone());
    steps.chain(judges).chain(objections).chain(allocations).collect()
}
