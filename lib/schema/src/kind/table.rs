//! The table itself.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use k8s_openapi::api::networking::v1::{IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use super::Kind;

/// Every built-in kind, by group, then by name.
pub const KINDS: &[Kind] = &[
    Kind::of::<ConfigMap>(),
    Kind::of::<Endpoints>(),
    Kind::of::<Event>(),
    Kind::of::<LimitRange>(),
    Kind::of::<Namespace>(),
    Kind::of::<Node>(),
    Kind::of::<PersistentVolume>(),
    Kind::of::<PersistentVolumeClaim>(),
    Kind::of::<Pod>(),
    Kind::of::<PodTemplate>(),
    Kind::of::<ReplicationController>(),
    Kind::of::<ResourceQuota>(),
    Kind::of::<Secret>(),
    Kind::of::<Service>(),
    Kind::of::<ServiceAccount>(),
    Kind::of::<ValidatingAdmissionPolicy>(),
    Kind::of::<ValidatingAdmissionPolicyBinding>(),
    Kind::of::<CustomResourceDefinition>(),
    Kind::of::<APIService>(),
    Kind::of::<ControllerRevision>(),
    Kind::of::<DaemonSet>(),
    Kind::of::<Deployment>(),
    Kind::of::<ReplicaSet>(),
    Kind::of::<StatefulSet>(),
    Kind::of::<autoscaling::v2::HorizontalPodAutoscaler>(),
    Kind::of::<autoscaling::v1::HorizontalPodAutoscaler>(),
    Kind::of::<CronJob>(),
    Kind::of::<Job>(),
    Kind::of::<CertificateSigningRequest>(),
    Kind::of::<Lease>(),
    Kind::of::<EndpointSlice>(),
    Kind::of::<events::v1::Event>(),
    Kind::of::<FlowSchema>(),
    Kind::of::<PriorityLevelConfiguration>(),
    Kind::of::<IPAddress>(),
    Kind::of::<Ingress>(),
    Kind::of::<IngressClass>(),
    Kind::of::<NetworkPolicy>(),
    Kind::of::<ServiceCIDR>(),
    Kind::of::<RuntimeClass>(),
    Kind::of::<PodDisruptionBudget>(),
    Kind::of::<ClusterRole>(),
    Kind::of::<ClusterRoleBinding>(),
    Kind::of::<Role>(),
    Kind::of::<RoleBinding>(),
    Kind::of::<DeviceClass>(),
    Kind::of::<ResourceClaim>(),
    Kind::of::<ResourceClaimTemplate>(),
    Kind::of::<ResourceSlice>(),
    Kind::of::<PriorityClass>(),
    Kind::of::<CSIDriver>(),
    Kind::of::<CSINode>(),
    Kind::of::<CSIStorageCapacity>(),
    Kind::of::<StorageClass>(),
    Kind::of::<VolumeAttachment>(),
    Kind::of::<VolumeAttributesClass>(),
];
