"""Would Kubernetes take what deploy/kubernetes holds, and does it run the proxy as the proxy needs it?"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from copilot_proxy import __version__
from copilot_proxy.settings import OPTIONS
from tests.deploy.files import END, stages

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OLDEST = "1.30"  # the first that knows preStop's sleep
PORT = 11434

Document = dict[str, Any]


def as_written() -> list[Document]:
    """The files that kustomization.yaml lists, and the map that it would make."""
    (settings,) = KUSTOMIZATION["configMapGenerator"]
    data = dict(literal.split("=", 1) for literal in settings["literals"])
    metadata = {"name": settings["name"], **settings["options"]}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    files = [yaml.safe_load_all((FOLDER / name).read_text()) for name in KUSTOMIZATION["resources"]]
    return [*(document for file in files for document in file), made]


def as_built() -> list[Document]:
    """What kustomize makes of it all."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl to build it with: Debian has none that is recent")
    done = subprocess.run(
        ["kubectl", "kustomize", FOLDER], check=True, capture_output=True, text=True, timeout=60
    )
    return list(yaml.safe_load_all(done.stdout))


KINDS = {document["kind"]: document for document in as_written()}
POD = KINDS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("way", [as_written, as_built])
def test_kubernetes_takes_it(way: Callable[[], list[Document]], version: str) -> None:
    """Every object fits the schema of its kind, with no key that Kubernetes does not know."""
    documents = way()
    assert {document["kind"] for document in documents} == {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Namespace", "NetworkPolicy",
        "PodDisruptionBudget", "Service",
    }  # fmt: skip
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_schemas_are_strict() -> None:
    """A key that is misspelt does not pass."""
    wrong = {**KINDS["Service"], "spec": {**KINDS["Service"]["spec"], "portz": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, OLDEST, strict=True)


def test_every_file_is_listed() -> None:
    """No file is forgotten."""
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files


def test_one_name() -> None:
    """All that selects the pods selects by the one label that they have."""
    labels = POD["metadata"]["labels"]
    spec = {kind: document["spec"] for kind, document in KINDS.items() if "spec" in document}
    assert spec["Deployment"]["selector"]["matchLabels"] == labels
    assert spec["Service"]["selector"] == labels
    assert spec["PodDisruptionBudget"]["selector"]["matchLabels"] == labels
    assert spec["NetworkPolicy"]["podSelector"]["matchLabels"] == labels
    target = spec["HorizontalPodAutoscaler"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", KINDS["Deployment"]["metadata"]["name"])


def test_one_port() -> None:
    """The proxy listens on all addresses of its pod, where the service and the network's rules lead."""
    assert CONTAINER["command"] == ["twist", "copilot-proxy", f"--port=tcp:{PORT}"]
    assert CONTAINER["ports"] == [{"name": "http", "containerPort": PORT}]
    assert KINDS["Service"]["spec"]["ports"] == [{"name": "http", "port": PORT, "targetPort": "http"}]
    (ingress,) = KINDS["NetworkPolicy"]["spec"]["ingress"]
    assert ingress["ports"] == [{"port": PORT}]


def test_the_settings_are_ours() -> None:
    """The map sets variables that there are, and the way to llama-server is open."""
    settings = KINDS["ConfigMap"]["data"]
    assert settings.keys() <= {option.environment for option in OPTIONS}
    to_llama, _ = KINDS["NetworkPolicy"]["spec"]["egress"]
    assert settings["UPSTREAM"] == f"http://llama-server:{to_llama['ports'][0]['port']}"


def test_it_has_no_privilege() -> None:
    """The pod fits the strictest of Kubernetes' own standards, and its files cannot be changed."""
    assert KINDS["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == stages()["prod"].last("USER")
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert {"requests", "limits"} <= CONTAINER["resources"].keys()


def test_there_is_time_to_end() -> None:
    """A pod that goes has the time for what comes late, for the streams that run, and to end."""
    pause = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["spec"]["terminationGracePeriodSeconds"] > pause + END


def test_probes() -> None:
    """Two questions: is it alive, and is it to be sent requests."""
    paths = {kind: CONTAINER[kind]["httpGet"]["path"] for kind in ("livenessProbe", "readinessProbe")}
    assert paths == {"livenessProbe": "/health/live", "readinessProbe": "/health/ready"}


def test_the_version_is_ours() -> None:
    """The image is that of this version."""
    (image,) = KUSTOMIZATION["images"]
    assert (image["name"], image["newTag"]) == (CONTAINER["image"], __version__)
