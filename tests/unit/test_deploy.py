"""What a machine without a cluster can check of deploy/: against schemas, against the settings, against the code."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import kubernetes_validate
import pytest
import yaml
from botocore import xform_name
from botocore.validate import ParamValidator

from consumer.settings import PREFIX, Settings, load
from consumer.telemetry.exposition import Exposition
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.pages import pages

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
TASK: dict[str, Any] = json.loads((ROOT / "deploy" / "ecs" / "task-definition.json").read_text())
POLICY: dict[str, Any] = json.loads((ROOT / "deploy" / "iam" / "worker-policy.json").read_text())
PAGE = (ROOT / "docs" / "deploying.md").read_text()
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
# The schemas to hold the manifests against: the oldest version that is still kept by its makers, and a new one.
VERSIONS = ("1.34", "1.37")
# Rooms of the adapters that call AWS, and the file without which a room calls nothing.
ADAPTERS = {"kinesis": ("streams", "kinesis.py"), "dynamodb": ("leases", "dynamodb.py")}
# Operations whose permission has another name. AWS: PartiQL needs one for each kind of statement; ours are UPDATEs.
PERMISSIONS = {"dynamodb:BatchExecuteStatement": "dynamodb:PartiQLUpdate"}
# What an action needs beside itself. AWS: tags given to CreateTable need dynamodb:TagResource.
IMPLIED = {"dynamodb:CreateTable": {"dynamodb:TagResource"}}


def manifests() -> dict[str, dict[str, Any]]:
    """Every manifest that the kustomization names, by kind."""
    found = [yaml.safe_load((KUBERNETES / name).read_text()) for name in KUSTOMIZATION["resources"]]
    return {manifest["kind"]: manifest for manifest in found}


DEPLOYMENT = manifests()["Deployment"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
[WORKER] = POD["containers"]
[ECS_WORKER] = TASK["containerDefinitions"]
LABELS = KUSTOMIZATION["labels"][0]["pairs"]


def test_the_kustomization_names_every_manifest_and_no_other() -> None:
    """A file that is forgotten there is never applied."""
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    assert KUSTOMIZATION["images"][0]["name"] == WORKER["image"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", sorted(manifests()))
def test_a_manifest_is_what_kubernetes_takes(kind: str, version: str) -> None:
    """Strictly: a misspelt field is an error. The selector's labels are put in as kustomize does."""
    manifest = manifests()[kind]
    if kind == "Deployment":
        manifest["spec"]["selector"] = {"matchLabels": LABELS}
        manifest["spec"]["template"]["metadata"]["labels"] = LABELS
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_would_find_a_misspelt_field() -> None:
    """The check above is able to fail."""
    manifest = manifests()["ServiceAccount"]
    manifest["automountServiceAccountTokens"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def test_what_selects_pods_selects_these() -> None:
    """MemoryBudget and spreading mean the labels that kustomize gives the pods."""
    assert manifests()["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == LABELS
    assert POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == LABELS


def test_probes_ask_pages_that_the_server_has() -> None:
    """On the port where it listens."""
    known = pages(str, str, Exposition(Metrics(), int, ""))
    port = settings_of(kubernetes_environment()).http_address
    assert port is not None
    assert WORKER["ports"] == [{"name": "http", "containerPort": port[1]}]
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert WORKER[probe]["httpGet"] == {"path": path, "port": "http"}
        assert path in known
    annotations = DEPLOYMENT["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in known
    assert annotations["prometheus.io/port"] == str(port[1])


def test_ecs_asks_the_liveness_page_with_what_the_image_has() -> None:
    """The module is there, the URL is the server's, and the check fits into its time."""
    shell, python, dash_m, module, url = ECS_WORKER["healthCheck"]["command"]
    assert (shell, python, dash_m) == ("CMD", "python", "-m")
    assert (ROOT / f"{module.replace('.', '/')}.py").exists()
    address = settings_of(ecs_environment()).http_address
    assert address is not None
    assert url == f"http://127.0.0.1:{address[1]}/livez"
    assert ECS_WORKER["portMappings"][0]["containerPort"] == address[1]


def kubernetes_environment() -> dict[str, str]:
    """What the container gets: the config map, and what is set beside it."""
    values: dict[str, str] = dict(manifests()["ConfigMap"]["data"])
    return values | {entry["name"]: "pod-name" for entry in WORKER["env"]}


def ecs_environment() -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in ECS_WORKER["environment"]}


def settings_of(environment: dict[str, str]) -> Settings:
    return load({}, environ=environment)


@pytest.mark.parametrize("environment", [kubernetes_environment(), ecs_environment()], ids=["kubernetes", "ecs"])
def test_the_environment_is_one_that_the_worker_takes(environment: dict[str, str]) -> None:
    """Names and values pass the settings; nothing that matters is left on the pod's own disk."""
    settings = settings_of(environment)
    assert all(isinstance(value, str) for value in environment.values())
    assert settings.leases.startswith("dynamodb:")
    mounts = {mount["mountPath"] for mount in WORKER["volumeMounts"]}
    for place in (settings.sink, settings.dead_letters):
        assert place.startswith("jsonl:/data/")
    assert "/data" in mounts


def test_kubernetes_adds_no_variable_that_looks_like_a_setting() -> None:
    """Service links of a Service with our name would, and the worker refuses what it does not know."""
    assert POD["enableServiceLinks"] is False
    assert WORKER["env"][0]["name"] == f"{PREFIX}WORKER_ID"


def test_whoever_stops_a_worker_waits_longer_than_its_drain_takes() -> None:
    """Else it is killed with batches in flight."""
    drain = settings_of(kubernetes_environment()).shutdown_timeout
    assert POD["terminationGracePeriodSeconds"] >= drain + 5
    assert drain + 5 <= ECS_WORKER["stopTimeout"] <= 120  # AWS: at most 120 s on Fargate


def test_a_rolling_update_starts_a_worker_before_it_stops_one() -> None:
    """There are never fewer than three, and no two stop at once."""
    assert DEPLOYMENT["replicas"] == 3
    assert DEPLOYMENT["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_worker_has_no_rights_on_its_machine() -> None:
    """It is the user of the image, on a root file system that it can't write to."""
    uid = re.search(r"--uid (\d+)", (ROOT / "Dockerfile").read_text())
    assert uid is not None
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert str(POD["securityContext"]["runAsUser"]) == ECS_WORKER["user"] == uid[1]
    assert WORKER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert ECS_WORKER["readonlyRootFilesystem"] is True
    assert ECS_WORKER["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert 'VOLUME ["/tmp"]' in (ROOT / "Dockerfile").read_text()  # the only other place that is written to


def test_the_task_definition_is_what_ecs_takes() -> None:
    """By the model of the service that botocore carries; sizes are a pair that Fargate has."""
    model = botocore.session.get_session().get_service_model("ecs")
    shape: Any = model.operation_model("RegisterTaskDefinition").input_shape
    report = ParamValidator().validate(TASK, shape)
    assert not report.has_errors(), report.generate_report()
    assert set(TASK) <= set(shape.members)
    assert set(ECS_WORKER) <= set(shape.members["containerDefinitions"].member.members)
    assert (TASK["cpu"], TASK["memory"]) == ("512", "1024")
    mounted = {mount["sourceVolume"] for mount in ECS_WORKER["mountPoints"]}
    assert mounted == {volume["name"] for volume in TASK["volumes"]}


def calls(service: str) -> set[str]:
    """The IAM actions that the adapters of a service call: every client method that is an operation of it."""
    operations = botocore.session.get_session().get_service_model(service).operation_names
    methods = {xform_name(name): f"{service}:{name}" for name in operations}
    files = (ROOT / "consumer" / ADAPTERS[service][0]).glob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    found = {
        methods[node.attr]
        for node in nodes
        if isinstance(node, ast.Attribute) and node.attr in methods and "client" in ast.unparse(node.value)
    }
    return {PERMISSIONS.get(action, action) for action in found}


def test_the_policy_allows_what_the_code_calls_and_nothing_else() -> None:
    """Each statement is for named resources, without wildcards."""
    assert "*" not in json.dumps(POLICY)
    assert {statement["Effect"] for statement in POLICY["Statement"]} == {"Allow"}
    allowed = {action for statement in POLICY["Statement"] for action in statement["Action"]}
    for service, (room, adapter) in ADAPTERS.items():
        if not (ROOT / "consumer" / room / adapter).exists():
            continue
        called = calls(service)
        implied = set().union(*(IMPLIED.get(action, set()) for action in called))
        mine = {action for action in allowed if action.startswith(f"{service}:")}
        assert called, f"no call of {service} found"
        assert mine == called | implied


def test_the_page_names_metrics_that_there_are() -> None:
    """Alerts are copied from there."""
    metrics = Metrics()
    metrics.read(1, 1, 0, ["com.example.type"])
    metrics.held("shard")
    metrics.behind("shard", 0.0)
    metrics.unread_expires("shard", 3600.0)
    metrics.progressed("shard")
    text = Exposition(metrics, int, "").text().decode()
    names = set(re.findall(r"call_consumer_\w+", PAGE))
    assert names
    assert [name for name in names if f"\n{name}" not in text] == []


def test_the_page_names_settings_and_files_that_there_are() -> None:
    """Whoever follows it must not be led astray."""
    known = {f"{PREFIX}{field.rstrip('_').upper()}" for field in Settings.model_fields}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", PAGE)) <= known
    for path in re.findall(r"(?<!\w)(?:deploy|docs)/[\w./-]+\w", PAGE):
        assert (ROOT / path).exists(), path
