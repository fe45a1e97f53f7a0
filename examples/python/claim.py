"""Creates a claim, and a deployment that mounts it."""

from kubernetes import client, config

config.load_kube_config()
resources = client.V1VolumeResourceRequirements(requests={"storage": "32Gi"})
claim = client.V1PersistentVolumeClaim(
    api_version="v1",
    kind="PersistentVolumeClaim",
    metadata=client.V1ObjectMeta(name="my-pvc"),
    spec=client.V1PersistentVolumeClaimSpec(access_modes=["ReadWriteOnce"], resources=resources),
)
client.CoreV1Api().create_namespaced_persistent_volume_claim(namespace="default", body=claim)

labels = {"app": "alpine"}
container = client.V1Container(
    name="alpine-ctr",
    image="httpd:alpine",
    volume_mounts=[client.V1VolumeMount(name="my-volume", mount_path="/test")],
)
source = client.V1PersistentVolumeClaimVolumeSource(claim_name="my-pvc")
volume = client.V1Volume(name="my-volume", persistent_volume_claim=source)
template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels=labels),
    spec=client.V1PodSpec(containers=[container], volumes=[volume]),
)
spec = client.V1DeploymentSpec(
    replicas=1,
    selector=client.V1LabelSelector(match_labels=labels),
    template=template,
)
deployment = client.V1Deployment(
    api_version="apps/v1",
    kind="Deployment",
    metadata=client.V1ObjectMeta(name="pvc-test"),
    spec=spec,
)
client.AppsV1Api().create_namespaced_deployment(namespace="default", body=deployment)
