"""Creates an ingress with two paths."""

from kubernetes import client, config


def path(path, service):
    port = client.V1ServiceBackendPort(number=8080)
    backend = client.V1IngressServiceBackend(name=service, port=port)
    return client.V1HTTPIngressPath(
        path=path,
        path_type="Prefix",
        backend=client.V1IngressBackend(service=backend),
    )


config.load_kube_config()
paths = [path("/tomcat", "tomcat-service"), path("/httpd", "httpd-service")]
http = client.V1HTTPIngressRuleValue(paths=paths)
ingress = client.V1Ingress(
    api_version="networking.k8s.io/v1",
    kind="Ingress",
    metadata=client.V1ObjectMeta(
        name="test-ingress",
        annotations={"nginx.ingress.kubernetes.io/rewrite-target": "/"},
    ),
    spec=client.V1IngressSpec(rules=[client.V1IngressRule(http=http)]),
)
client.NetworkingV1Api().create_namespaced_ingress(namespace="default", body=ingress)
