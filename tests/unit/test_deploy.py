"""Check deploy/ without a cluster: against schemas, settings and code."""

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
METRICS = (ROOT / "docs" / "metrics.md").read_text()
EXPORTED = re.compile(r"^# TYPE (call_consumer_\w+) (\w+)", re.MULTILINE)
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
# Kubernetes versions whose schemas are used: the oldest supported one and a recent one.
VERSIONS = ("1.34", "1.37")
# Rooms whose adapters call AWS, and the file that shows that a room calls nothing.
ADAPTERS = {"kinesis": ("streams", "kinesis.py"), "dynamodb": ("leases", "dynamodb.py")}
# Operations whose permission has another name. AWS requires one permission per kind of PartiQL statement; ours are
# UPDATEs.
PERMISSIONS = {"dynamodb:BatchExecuteStatement": "dynamodb:PartiQLUpdate"}
# Actions that need another one. AWS: tags in CreateTable need dynamodb:TagResource.
IMPLIED = {"dynamodb:CreateTable": {"dynamodb:TagResource"}}


def manifests() -> dict[str, dict[str, Any]]:
    """Return every manifest that the kustomization names, by kind."""
    found = [yaml.safe_load((KUBERNETES / name).read_text()) for name in KUSTOMIZATION["resources"]]
    return {manifest["kind"]: manifest for manifest in found}


DEPLOYMENT = manifests()["Deployment"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
[WORKER] = POD["containers"]
[ECS_WORKER] = TASK["containerDefinitions"]
LABELS = KUSTOMIZATION["labels"][0]["pairs"]


def test_the_kustomization_names_every_manifest_and_no_other() -> None:
    """Kustomize never applies a manifest that is missing there."""
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    assert KUSTOMIZATION["images"][0]["name"] == WORKER["image"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", sorted(manifests()))
def test_a_manifest_is_valid_for_kubernetes(kind: str, version: str) -> None:
    """A misspelled field is an error. The labels of the selector are added as kustomize adds them."""
    manifest = manifests()[kind]
    if kind == "Deployment":
        manifest["spec"]["selector"] = {"matchLabels": LABELS}
        manifest["spec"]["template"]["metadata"]["labels"] = LABELS
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_reject_a_misspelled_field() -> None:
    """This shows that the check above can fail."""
    manifest = manifests()["ServiceAccount"]
    manifest["automountServiceAccountTokens"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def test_selectors_match_the_labels_of_the_pods() -> None:
    """The disruption budget and the spreading use the labels that kustomize adds."""
    assert manifests()["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == LABELS
    assert POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == LABELS


def test_probes_request_pages_that_the_server_has() -> None:
    """They use the port on which it listens."""
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


def test_ecs_requests_the_liveness_page_with_the_probe_of_the_image() -> None:
    """The module exists, the URL is right, and the probe ends within the time of the check."""
    shell, python, dash_m, module, url = ECS_WORKER["healthCheck"]["command"]
    assert (shell, python, dash_m) == ("CMD", "python", "-m")
    assert (ROOT / f"{module.replace('.', '/')}.py").exists()
    address = settings_of(ecs_environment()).http_address
    assert address is not None
    assert url == f"http://127.0.0.1:{address[1]}/livez"
    assert ECS_WORKER["portMappings"][0]["containerPort"] == address[1]


def kubernetes_environment() -> dict[str, str]:
    """Return the environment of the container: the config map and the variables set beside it."""
    values: dict[str, str] = dict(manifests()["ConfigMap"]["data"])
    return values | {entry["name"]: "pod-name" for entry in WORKER["env"]}


def ecs_environment() -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in ECS_WORKER["environment"]}


def settings_of(environment: dict[str, str]) -> Settings:
    return load({}, environ=environment)


@pytest.mark.parametrize("environment", [kubernetes_environment(), ecs_environment()], ids=["kubernetes", "ecs"])
def test_the_worker_accepts_its_environment(environment: dict[str, str]) -> None:
    """No lasting data goes to the disk of the pod."""
    settings = settings_of(environment)
    assert all(isinstance(value, str) for value in environment.values())
    assert settings.leases.startswith("dynamodb:")
    mounts = {mount["mountPath"] for mount in WORKER["volumeMounts"]}
    for place in (settings.sink, settings.dead_letters):
        assert place.startswith("jsonl:/data/")
    assert "/data" in mounts


def test_kubernetes_adds_no_variable_with_the_prefix_of_settings() -> None:
    """Service links of a Service with our name would, and the worker rejects unknown settings."""
    assert POD["enableServiceLinks"] is False
    assert WORKER["env"][0]["name"] == f"{PREFIX}WORKER_ID"


def test_the_grace_period_is_longer_than_the_drain() -> None:
    """Otherwise the worker is killed with batches in flight."""
    drain = settings_of(kubernetes_environment()).shutdown_timeout
    assert POD["terminationGracePeriodSeconds"] >= drain + 5
    assert drain + 5 <= ECS_WORKER["stopTimeout"] <= 120  # AWS: at most 120 s on Fargate


def test_a_rolling_update_starts_a_worker_before_it_stops_one() -> None:
    """At least three workers run, and no two stop at once."""
    assert DEPLOYMENT["replicas"] == 3
    assert DEPLOYMENT["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_worker_has_no_privileges() -> None:
    """It runs as the user of the image on a read-only root file system."""
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
    assert 'VOLUME ["/tmp"]' in (ROOT / "Dockerfile").read_text()  # the only other writable path


def test_the_task_definition_is_valid_for_ecs() -> None:
    """It follows botocore's model of the service, and Fargate offers its sizes."""
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
    """Return the IAM actions of a service that adapters call: every client method that is an operation."""
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


def test_the_policy_allows_exactly_the_calls_of_the_code() -> None:
    """Each statement names its resources without wildcards."""
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


def test_the_page_names_every_metric_that_is_exported() -> None:
    """And no other: operators copy alerts from the page."""
    metrics = Metrics()
    metrics.records_delivered(1, 1, 0, ["com.example.type"])
    metrics.shard_added("shard")
    metrics.lag_reported("shard", 0.0)
    metrics.unread_expires("shard", 3600.0)
    metrics.batch_delivered("shard")
    metrics.last_checkpoint = 0.0
    text = Exposition(metrics, int, "").text().decode()
    exported = {f"{name}_total" if kind == "counter" else name for name, kind in EXPORTED.findall(text)}
    named = set(re.findall(r"call_consumer_\w+", METRICS))
    assert {name.replace("_total_total", "_total") for name in exported} == named


def test_the_page_names_existing_settings_and_files() -> None:
    """An operator must be able to follow the page."""
    known = {f"{PREFIX}{field.rstrip('_').upper()}" for field in Settings.model_fields}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", PAGE)) <= known
    for path in re.findall(r"(?<!\w)(?:deploy|docs)/[\w./-]+\w", PAGE):
        assert (ROOT / path).exists(), path
