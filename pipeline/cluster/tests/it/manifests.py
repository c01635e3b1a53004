"""The manifests of a folder: usage `manifests.py FOLDER`. Holds each document to Kubernetes' own schemas, of an old version and of the
newest there is, and the documents to each other; then prints the command line of each container, a JSON array a line. Exit code 1 and a reason
if one is wrong.
"""
import json
import pathlib
import re
import sys

import kubernetes_validate
import yaml

VERSIONS = ["1.29.0", kubernetes_validate.latest_version()]
UNITS = {"k": 10, "M": 20, "G": 30, "T": 40, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}

folder = pathlib.Path(sys.argv[1])
files = {path.name: list(yaml.safe_load_all(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.yaml"))}
kustomization, = files.pop("kustomization.yaml")
assert (kustomization["apiVersion"], kustomization["kind"]) == ("kustomize.config.k8s.io/v1beta1", "Kustomization")
# A job is made anew for each run, so it is none of what stays.
assert set(kustomization["resources"]) == set(files) - {"driver.yaml"}, kustomization["resources"]
documents = [document for file in files.values() for document in file]


def n_bytes(text):
    number, unit = re.fullmatch(r"(\d+)(\D+)", text).groups()
    return int(number) << UNITS[unit]


def after(args, flag):
    return args[args.index(flag) + 1]


def has(labels, selector):
    return all(labels.get(key) == value for key, value in selector["matchLabels"].items())


for document in documents:
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)
    assert "namespace" not in document["metadata"], document["metadata"]

by_kind = {}
for document in documents:
    by_kind.setdefault(document["kind"], []).append(document)
assert {kind: len(found) for kind, found in by_kind.items()} == {"Deployment": 2, "Service": 1, "Job": 1, "NetworkPolicy": 4}

pods = {}
for document in by_kind["Deployment"] + by_kind["Job"]:
    template = document["spec"]["template"]
    labels, pod = template["metadata"]["labels"], template["spec"]
    pods[labels["app.kubernetes.io/component"]] = (labels, pod)
    if document["kind"] == "Deployment":
        assert has(labels, document["spec"]["selector"]), labels
    # Kubernetes' variables of a service would be read as settings.
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    container, = pod["containers"]
    assert container["image"] == "{name}:{newTag}".format(**kustomization["images"][0])
    assert container["envFrom"] == [{"secretRef": {"name": "tuwen-store"}}]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in pod["volumes"]}, mounted
    assert {variable["name"]: variable.get("value") for variable in container["env"]}["TMPDIR"] == mounted["scratch"]
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    for probe in ("readinessProbe", "livenessProbe"):
        asked = container.get(probe, {})
        assert {"httpGet", "tcpSocket"}.isdisjoint(asked) or next(asked[way]["port"] for way in ("httpGet", "tcpSocket") if way in asked) in ports
    # What stands in parentheses is one of the container's variables.
    for name in re.findall(r"\$\((\w+)\)", " ".join(container["args"])):
        assert name in {variable["name"] for variable in container["env"]}, name
    print(json.dumps(container["command"] + container["args"]))
assert set(pods) == {"scheduler", "executor", "driver"}, pods.keys()

# One scheduler, which drivers and executors find by its service.
service, = by_kind["Service"]
labels, pod = pods["scheduler"]
assert has(labels, {"matchLabels": service["spec"]["selector"]})
port, = service["spec"]["ports"]
scheduler, = pod["containers"]
bound = int(after(scheduler["args"], "--bind").rsplit(":", 1)[1])
assert bound == port["port"] == scheduler["ports"][0]["containerPort"] and port["targetPort"] == scheduler["ports"][0]["name"]
assert scheduler["readinessProbe"]["httpGet"]["path"] == "/healthz", "executors come by the service, which leads to ready pods alone"
executor, = pods["executor"][1]["containers"]
driver, = pods["driver"][1]["containers"]
address = f"{service['metadata']['name']}:{bound}"
assert after(executor["args"], "--scheduler") == after(driver["args"], "--cluster") == address

# An executor asks for what it uses, and says where it is.
resources = executor["resources"]
assert after(executor["args"], "--vcores") == resources["requests"]["cpu"]
assert n_bytes(after(executor["args"], "--memory")) * 2 <= n_bytes(resources["limits"]["memory"])
assert resources["limits"]["memory"] == resources["requests"]["memory"]
results = int(after(executor["args"], "--port"))
assert [port["containerPort"] for port in executor["ports"]] == [results]
fields = {variable["name"]: variable["valueFrom"]["fieldRef"]["fieldPath"] for variable in executor["env"] if "valueFrom" in variable}
assert fields == {"POD_IP": "status.podIP"} and after(executor["args"], "--host") == "$(POD_IP)"

# Each pod is kept from whom it does not know, and reaches what it must.
for name, (labels, _) in pods.items():
    policies = [policy["spec"] for policy in by_kind["NetworkPolicy"] if has(labels, policy["spec"]["podSelector"])]
    assert sorted(kind for policy in policies for kind in policy["policyTypes"]) == ["Egress", "Ingress"], name
    entered = {port["port"] for policy in policies for rule in policy.get("ingress", []) for port in rule["ports"]}
    container, = pods[name][1]["containers"]
    assert entered == {port["containerPort"] for port in container.get("ports", [])}, name
    for policy in policies:
        for rule in policy.get("ingress", []):
            assert all(set(source) == {"podSelector"} for source in rule["from"]), name
