//! Images that come later than their pods.

use std::path::Path;

use kprov_tests::images;

use super::cluster;

/// As strict as the level `restricted` asks for.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: strict}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: c
    image: busybox:1.28
    command: [sh, -c, 'grep -E \"^(Seccomp|NoNewPrivs|CapEff):\" /proc/self/status; unshare -U true; exec sleep 9999']
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
";

#[test]
fn a_restricted_pod_starts_when_its_image_is_loaded() {
    let cluster = cluster("later", 1, &[]);
    cluster.k("label namespace default pod-security.kubernetes.io/enforce=restricted").unwrap();
    cluster.apply(POD).unwrap();
    let waits = "wait --for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff";
    cluster.k(&format!("{waits} pod/strict --timeout=60s")).unwrap();
    let archive = images::archive("busybox", &Path::new(env!("CARGO_TARGET_TMPDIR")).join("images")).unwrap();
    cluster.kprov("image load", &[archive.to_str().unwrap()]).unwrap();
    // The next try by itself would be ten seconds and more after the first.
    cluster.k("wait --for=condition=Ready pod/strict --timeout=6s").unwrap();
    let log = cluster.k("logs strict").unwrap();
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"] {
        assert!(log.contains(line), "{line} in {log}");
    }
    assert!(log.contains("Operation not permitted"), "{log}");
}
