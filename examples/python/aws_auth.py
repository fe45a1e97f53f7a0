"""Lets the machines with an IAM role join an EKS cluster as nodes, in place of what was said before."""

import sys

from kubernetes import client, config
from kubernetes.client.rest import ApiException

role = sys.argv[1]
config.load_kube_config()
core = client.CoreV1Api()
try:
    core.delete_namespaced_config_map(name="aws-auth", namespace="kube-system")
except ApiException as error:
    if error.status != 404:
        raise
roles = f"- rolearn: {role}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n  groups:\n"
roles += "    - system:bootstrappers\n    - system:nodes\n"
config_map = client.V1ConfigMap(
    api_version="v1",
    kind="ConfigMap",
    metadata=client.V1ObjectMeta(name="aws-auth", namespace="kube-system"),
    data={"mapRoles": roles},
)
core.create_namespaced_config_map(namespace="kube-system", body=config_map)
