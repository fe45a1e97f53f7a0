"""Creates a service with a load balancer."""

from kubernetes import client, config

config.load_kube_config()
spec = client.V1ServiceSpec(
    type="LoadBalancer",
    selector={"app": "alpine"},
    ports=[client.V1ServicePort(port=8080, protocol="TCP", target_port=80)],
)
service = client.V1Service(
    api_version="v1",
    kind="Service",
    metadata=client.V1ObjectMeta(name="alpine-service"),
    spec=spec,
)
client.CoreV1Api().create_namespaced_service(namespace="default", body=service)
