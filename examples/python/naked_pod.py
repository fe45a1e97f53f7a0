"""Creates a pod on its own."""

from kubernetes import client, config

config.load_kube_config()
container = client.V1Container(name="naked-pod-demo-ctr", image="nginx")
pod = client.V1Pod(
    api_version="v1",
    kind="Pod",
    metadata=client.V1ObjectMeta(name="naked-pod-demo"),
    spec=client.V1PodSpec(containers=[container]),
)
client.CoreV1Api().create_namespaced_pod(namespace="default", body=pod)
