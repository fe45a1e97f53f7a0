#!/usr/bin/env python3
"""Writes lib/schema/data/internal.txt: the fields of Kubernetes' internal types that messages show whole.

    tools/gen_internal.py KUBERNETES > lib/schema/data/internal.txt

KUBERNETES is a checkout of Kubernetes' source: pkg/apis/GROUP/types.go has a group's internal types, and the published
ones (staging/src/k8s.io/api/GROUP/v1/types.go) say under which name a field stands in JSON.
"""

import re
import sys
from pathlib import Path

# What messages show whole.
ROOTS = [
    ("apps", "DaemonSetUpdateStrategy"),
    ("apps", "DeploymentStrategy"),
    ("apps", "StatefulSetUpdateStrategy"),
    ("batch", "PodFailurePolicy"),
    ("batch", "SuccessPolicy"),
    ("core", "EventSource"),
    ("core", "ObjectReference"),
    ("core", "PodTemplateSpec"),
    ("core", "ScopeSelector"),
    ("core", "SecurityContext"),
    ("core", "Taint"),
    ("core", "VolumeNodeAffinity"),
    ("flowcontrol", "FlowSchemaSpec"),
    ("flowcontrol", "PriorityLevelConfigurationSpec"),
    ("networking", "ParentReference"),
    ("policy", "PodDisruptionBudgetSpec"),
    ("resource", "ResourceClaimSpec"),
    ("resource", "ResourceClaimTemplateSpec"),
    ("storage", "CSINodeDriver"),
    ("storage", "VolumeAttachmentSpec"),
]
# Pointers that are never nil, since the conversion to the internal type sets them.
ALWAYS = {("PodSpec", "SecurityContext")}

HEAD = """\
# Kubernetes: fields of internal types in their order. Written by tools/gen_internal.py; see NOTICE.
# @NAME            an internal type, by the name of the published definition that it stands for
# FIELD[*] JSON    a field and where its value stands in the published form; *: absent is null
#   ^JSON          in the struct around the published one
# + JSON           the fields of a published struct stand in this one"""


def structs(path):
    """The structs of a Go file: name -> [(field or None, type, tag)]."""
    found = {}
    text = re.sub(r"/\*.*?\*/", "", Path(path).read_text(), flags=re.S)
    for name, body in re.findall(r"^type (\w+) struct \{\n(.*?)^\}", text, flags=re.M | re.S):
        fields = []
        for line in body.splitlines():
            line = line.split("//")[0].strip()
            if match := re.match(r"([\w.]+)\s*(`.*`)?$", line):
                fields.append((None, match[1], match[2] or ""))
            elif match := re.match(r"(\w+)\s+([^\s`]+)\s*(`.*`)?$", line):
                fields.append((match[1], match[2], match[3] or ""))
        found[name] = fields
    return found


def published(types, name):
    """Go name -> JSON name of a published struct, embedded ones included."""
    names = {}
    for field, kind, tag in types.get(name, []):
        json = re.search(r'json:"([^,"]*)', tag)
        if field is None and (not json or not json[1]):
            names |= published(types, kind.split(".")[-1])
        elif json:
            names[field or kind.split(".")[-1]] = json[1]
    return names


def main(source):
    internal, external = {}, {}
    for package in {package for package, _ in ROOTS}:
        internal[package] = structs(f"{source}/pkg/apis/{package}/types.go")
        external[package] = structs(f"{source}/staging/src/k8s.io/api/{package}/v1/types.go")
    written, waiting = {}, [(root, {}) for root in ROOTS]

    def rows(package, name, names, around):
        for field, kind, _ in internal[package][name]:
            bare = kind.lstrip("*")
            if field is None and bare == "metav1.ObjectMeta":
                yield "+ metadata"
            elif field is None and not bare.startswith("metav1."):
                yield from rows(package, bare, names, around)
            elif field is not None:
                pointer = "*" if kind.startswith("*") and (name, field) not in ALWAYS else ""
                json = names.get(field) or next((to for go, to in names.items() if go.lower() == field.lower()), None)
                yield f"{field}{pointer} {json or '^' + around[field]}"
                item = re.sub(r"^(\*|\[\])+|^map\[\w+\]", "", kind)
                owner, _, item = item.rpartition(".")
                owner = {"": package, "api": "core", "core": "core"}.get(owner)
                if owner and item in internal[owner]:
                    waiting.append(((owner, item), names))

    while waiting:
        (package, name), around = waiting.pop(0)
        if (package, name) not in written:
            names = published(external[package], name)
            written[package, name] = list(rows(package, name, names, around))
    print(HEAD)
    for (package, name), lines in sorted(written.items()):
        print(f"@io.k8s.api.{package}.v1.{name}", *lines, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
