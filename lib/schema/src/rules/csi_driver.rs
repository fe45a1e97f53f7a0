//! CSI drivers: what a cluster has to know of what attaches and mounts storage.

use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec, TokenRequest};

use super::check::{Errors, Path};
use super::fields::list;
use super::pod::same;
use crate::kind::{Column, Rules, Write};
use crate::meta::MetaRules;
use crate::status::FieldError;
use crate::table;

const ATTACH: &str = "attachRequired indicates this CSI volume driver requires an attach operation (because it \
    implements the CSI ControllerPublishVolume() method), and that the Kubernetes attach detach controller should call \
    the attach volume interface which checks the volumeattachment status and waits until the volume is attached before \
    proceeding to mounting. The CSI external-attacher coordinates with CSI volume driver and updates the \
    volumeattachment status when the attach operation is complete. If the value is specified to false, the attach \
    operation will be skipped. Otherwise the attach operation will be called.\n\nThis field is immutable.";
const POD_INFO: &str = "podInfoOnMount indicates this CSI volume driver requires additional pod information (like \
    podName, podUID, etc.) during mount operations, if set to true. If set to false, pod information will not be \
    passed on mount. Default is false.\n\nThe CSI driver specifies podInfoOnMount as part of driver deployment. If \
    true, Kubelet will pass pod information as VolumeContext in the CSI NodePublishVolume() calls. The CSI driver is \
    responsible for parsing and validating the information passed in as VolumeContext.\n\nThe following VolumeContext \
    will be passed if podInfoOnMount is set to true. This list might grow, but the prefix will be used. \
    \"csi.storage.k8s.io/pod.name\": pod.Name \"csi.storage.k8s.io/pod.namespace\": pod.Namespace \
    \"csi.storage.k8s.io/pod.uid\": string(pod.UID) \"csi.storage.k8s.io/ephemeral\": \"true\" if the volume is an \
    ephemeral inline volume\n                                defined by a CSIVolumeSource, otherwise \"false\"\n\n\
    \"csi.storage.k8s.io/ephemeral\" is a new feature in Kubernetes 1.16. It is only required for drivers which \
    support both the \"Persistent\" and \"Ephemeral\" VolumeLifecycleMode. Other drivers can leave pod info disabled \
    and/or ignore this field. As Kubernetes 1.15 doesn't support this field, drivers can only support one mode when \
    deployed on such a cluster and the deployment determines which mode that is, for example via a command line \
    parameter of the driver.\n\nThis field was immutable in Kubernetes < 1.29 and now is mutable.";
const CAPACITY: &str = "storageCapacity indicates that the CSI volume driver wants pod scheduling to consider the \
    storage capacity that the driver deployment will report by creating CSIStorageCapacity objects with capacity \
    information, if set to true.\n\nThe check can be enabled immediately when deploying a driver. In that case, \
    provisioning new volumes with late binding will pause until the driver deployment has published some suitable \
    CSIStorageCapacity object.\n\nAlternatively, the driver can be deployed with the field unset or false and it can \
    be flipped later when storage capacity information has been published.\n\nThis field was immutable in Kubernetes \
    <= 1.22 and now is mutable.";
const TOKENS: &str = "tokenRequests indicates the CSI driver needs pods' service account tokens it is mounting volume \
    for to do necessary authentication. Kubelet will pass the tokens in VolumeContext in the CSI NodePublishVolume \
    calls. The CSI driver should parse and validate the following VolumeContext: \
    \"csi.storage.k8s.io/serviceAccount.tokens\": {\n  \"<audience>\": {\n    \"token\": <token>,\n    \
    \"expirationTimestamp\": <expiration timestamp in RFC3339>,\n  },\n  ...\n}\n\nNote: Audience in each \
    TokenRequest should be different and at most one token is empty string. To receive a new token after expiry, \
    RequiresRepublish can be used to trigger NodePublishVolume periodically.";
const REPUBLISH: &str = "requiresRepublish indicates the CSI driver wants `NodePublishVolume` being periodically \
    called to reflect any possible change in the mounted volume. This field defaults to false.\n\nNote: After a \
    successful initial NodePublishVolume call, subsequent calls to NodePublishVolume should only update the contents \
    of the volume. New mount points will not be seen by a running container.";
const MODES: &str = "volumeLifecycleModes defines what kind of volumes this CSI volume driver supports. The default \
    if the list is empty is \"Persistent\", which is the usage defined by the CSI specification and implemented in \
    Kubernetes via the usual PV/PVC mechanism.\n\nThe other mode is \"Ephemeral\". In this mode, volumes are defined \
    inline inside the pod spec with CSIVolumeSource and their lifecycle is tied to the lifecycle of that pod. A driver \
    has to be aware of this because it is only going to get a NodePublishVolume call for such a volume.\n\nFor more \
    information about implementing this mode, see https://kubernetes-csi.github.io/docs/ephemeral-local-volumes.html A \
    driver can support one or more of these modes and more modes may be added in the future.\n\nThis field is beta. \
    This field is immutable.";

const TOKEN_ADVICE: &str = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true \
    to prevent possible logging of tokens in volume attributes";

impl Rules for CSIDriver {
    const META: MetaRules = MetaRules { unconditional: false, ..MetaRules::COMMON };
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::truth("AttachRequired", ATTACH, |it, _| (it.spec.attach_required != Some(false)).into()),
        table::truth("PodInfoOnMount", POD_INFO, |it, _| (it.spec.pod_info_on_mount == Some(true)).into()),
        table::truth("StorageCapacity", CAPACITY, |it, _| (it.spec.storage_capacity == Some(true)).into()),
        table::text("TokenRequests", TOKENS, |it, _| {
            let audiences = it.spec.token_requests.as_ref().map(|all| all.iter().map(|one| one.audience.as_str()));
            audiences.map_or_else(|| "<unset>".to_owned(), |all| all.collect::<Vec<_>>().join(",")).into()
        }),
        table::truth("RequiresRepublish", REPUBLISH, |it, _| (it.spec.requires_republish == Some(true)).into()),
        table::text("Modes", MODES, |it, _| table::or_none(Some(&list(&it.spec.volume_lifecycle_modes).join(",")))),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.attach_required.get_or_insert(true);
        for unset in [
            &mut spec.pod_info_on_mount,
            &mut spec.storage_capacity,
            &mut spec.requires_republish,
            &mut spec.se_linux_mount,
        ] {
            unset.get_or_insert(false);
        }
        spec.fs_group_policy.get_or_insert_with(|| "ReadWriteOnceWithFSType".to_owned());
        if list(&spec.volume_lifecycle_modes).is_empty() {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".to_owned()]);
        }
    }

    fn prepare(&mut self, old: Option<&Self>, _: Write) {
        // What no gate lets in stays only where it is already.
        if old.is_none_or(|old| old.spec.prevent_pod_scheduling_if_missing.is_none()) {
            self.spec.prevent_pod_scheduling_if_missing = None;
        }
        if let Some(old) = old.filter(|old| !same(&old.spec, &self.spec)) {
            self.metadata.generation = Some(old.metadata.generation.unwrap_or_default() + 1);
        }
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let at = Path::root("spec");
        check(&mut errors, &at, &self.spec);
        if let Some(old) = old {
            errors.immutable(&at.child("attachedRequired"), &self.spec.attach_required, &old.spec.attach_required);
            let modes = (&self.spec.volume_lifecycle_modes, &old.spec.volume_lifecycle_modes);
            errors.immutable(&at.child("volumeLifecycleModes"), modes.0, modes.1);
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let spec = &self.spec;
        let asks = !list(&spec.token_requests).is_empty() && spec.service_account_token_in_secrets.is_none();
        let changed = old.is_none_or(|old| list(&old.spec.token_requests) != list(&spec.token_requests));
        if asks && changed { vec![TOKEN_ADVICE.to_owned()] } else { Vec::new() }
    }
}

fn check(errors: &mut Errors, at: &Path<'_>, spec: &CSIDriverSpec) {
    if let Some(policy) = &spec.fs_group_policy {
        errors.one_of(&at.child("fsGroupPolicy"), policy, &["File", "None", "ReadWriteOnceWithFSType"]);
    }
    token_requests(errors, &at.child("tokenRequests"), list(&spec.token_requests));
    let modes_at = at.child("volumeLifecycleModes");
    for mode in list(&spec.volume_lifecycle_modes) {
        errors.one_of(&modes_at, mode, &["Persistent", "Ephemeral"]);
    }
    if let Some(seconds) = spec.node_allocatable_update_period_seconds.filter(|seconds| *seconds < 10) {
        let why = "must be greater than or equal to 10 seconds";
        errors.invalid(&at.child("nodeAllocatableUpdatePeriodSeconds"), seconds, why);
    }
    if let Some(set) = spec.service_account_token_in_secrets.filter(|_| list(&spec.token_requests).is_empty()) {
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(&at.child("serviceAccountTokenInSecrets"), set, why);
    }
}

fn token_requests(errors: &mut Errors, at: &Path<'_>, requests: &[TokenRequest]) {
    const LEAST_SECONDS: i64 = 600;
    const MOST_SECONDS: i64 = 1 << 32;
    for (index, request) in requests.iter().enumerate() {
        let at = at.index(index);
        if requests[..index].iter().any(|before| before.audience == request.audience) {
            errors.duplicate(&at.child("audience"), &request.audience);
            continue;
        }
        let seconds_at = at.child("expirationSeconds");
        match request.expiration_seconds {
            Some(seconds) if seconds < LEAST_SECONDS => {
                errors.invalid(&seconds_at, seconds, "may not specify a duration less than 10 minutes");
            }
            Some(seconds) if seconds > MOST_SECONDS => {
                errors.invalid(&seconds_at, seconds, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
}
