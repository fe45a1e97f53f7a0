"""Creates a deployment of two web servers."""

from kubernetes import client, config

config.load_kube_config()
labels = {"app": "alpine"}
container = client.V1Container(name="alpine-ctr", image="httpd:alpine")
template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels=labels),
    spec=client.V1PodSpec(containers=[container]),
)
spec = client.V1DeploymentSpec(
    replicas=2,
    selector=client.V1LabelSelector(match_labels=labels),
    template=template,
)
deployment = client.V1Deployment(
    api_version="apps/v1",
    kind="Deployment",
    metadata=client.V1ObjectMeta(name="alpine"),
    spec=spec,
)
client.AppsV1Api().create_namespaced_deployment(namespace="default", body=deployment)
