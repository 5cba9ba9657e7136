"""config/deploy/kubernetes fits together, and with what the gateway does. That it is Kubernetes is checked in `.ci/run`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.policy import check
from gateway.policy.findings import PolicyErrors
from gateway.policy.settings_file import load_settings
from gateway.settings import Settings
from tests.deploy.options import said

HERE = Path(__file__).parents[2] / "config" / "deploy" / "kubernetes"
OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    (one["kind"], one["metadata"]["name"]): one
    for path in sorted(HERE.glob("*.yaml"))
    for one in yaml.safe_load_all(path.read_text())
}
POD = OBJECTS["Deployment", "gateway"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
PROBES = {name: CONTAINER[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")}


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """/etc/gateway as the pod finds it."""
    for volume, kind, name in (
        ("config", "ConfigMap", "gateway-config"),
        ("policies", "ConfigMap", "gateway-policies"),
    ):
        (tmp_path / volume).mkdir()
        given = OBJECTS[kind, name]
        for file, text in given["data"].items():
            (tmp_path / volume / file).write_text(text)
    return tmp_path


def environment() -> dict[str, str]:
    """What the container has in its environment, with a token of one's own in the Secret."""
    secret = OBJECTS["Secret", "gateway-secrets"]["stringData"] | {"admin-token": "0123456789abcdef-T0ken"}
    given = {one["name"]: one.get("valueFrom", {}).get("secretKeyRef", one) for one in CONTAINER["env"]}
    assert {one["name"] for one in given.values() if "key" in one} == {"gateway-secrets"}
    return {name: secret[one["key"]] if "key" in one else one["value"] for name, one in given.items()}


@pytest.fixture
def settings(etc: Path) -> Settings:
    """The settings in the ConfigMap, its paths where the test is."""
    file = etc / "config/gateway.yaml"
    file.write_text(file.read_text().replace("/etc/gateway", str(etc)))
    return load_settings(file, environment(), {})


def test_settings_and_policies_in_the_config_maps_are_valid(settings: Settings) -> None:
    report = check([settings.policies])
    assert (report.errors, report.warnings) == ((), ())
    assert settings.store.url == "redis://valkey:6379/0"
    assert settings.admin_token is not None


def test_nothing_starts_with_the_token_that_stands_there() -> None:
    token = OBJECTS["Secret", "gateway-secrets"]["stringData"]["admin-token"]
    with pytest.raises(PolicyErrors, match="weak-secret"):
        load_settings(None, {"GATEWAY_ADMIN_TOKEN": token}, {})


def test_one_slow_answer_takes_no_pod_away() -> None:
    assert min(PROBES[name]["failureThreshold"] for name in ("readinessProbe", "livenessProbe")) > 1


def test_a_pod_has_the_time_that_a_drain_takes(settings: Settings) -> None:
    drain_s = (settings.drain.delay_us + settings.drain.grace_us) / 1_000_000
    assert POD["terminationGracePeriodSeconds"] > drain_s + 2


def test_commands_and_probes_are_the_gateway_s(etc: Path) -> None:
    config = etc / "config/gateway.yaml"
    assert said(CONTAINER["args"], etc)["config"] == config
    for name, probe in PROBES.items():
        program, *words = probe["exec"]["command"]
        assert program == "gateway"
        options = said(words, etc)
        assert (options["config"], options["live"]) == (None, name != "readinessProbe")
        assert probe["timeoutSeconds"] > options["timeout"]


def test_probes_ask_as_the_gateway_was_started(settings: Settings) -> None:
    """Not by files that change while it runs: all pods would refuse a new token at once, and no caller would be served."""
    asked = load_settings(None, environment(), {})
    assert (asked.admin, asked.admin_token) == (settings.admin, settings.admin_token)


def test_ports_are_the_listeners(settings: Settings) -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert settings.admin is not None
    assert ports == {"http": settings.listen.port, "admin": settings.admin.port}
    services = {name: OBJECTS["Service", name]["spec"]["ports"] for name in ("gateway", "gateway-admin")}
    targets = {name: [port["targetPort"] for port in listed] for name, listed in services.items()}
    assert targets == {"gateway": ["http"], "gateway-admin": ["admin"]}  # who opens the one does not open the other
    allowed = [rule["ports"] for rule in OBJECTS["NetworkPolicy", "gateway"]["spec"]["ingress"]]
    assert {port["port"] for rule in allowed for port in rule} == set(ports)


def test_what_is_mounted_exists_and_only_tmp_can_be_written() -> None:
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    for mount in CONTAINER["volumeMounts"]:
        volume = volumes.pop(mount["name"])
        assert "subPath" not in mount  # such files are never updated
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in OBJECTS
        assert mount.get("readOnly", False) == (mount["mountPath"] != "/tmp")
    assert volumes == {}


@pytest.mark.parametrize("name", ["gateway", "valkey"])
def test_pods_have_no_rights_that_they_do_not_need(name: str) -> None:
    pod = OBJECTS["Deployment", name]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_user_is_that_of_the_image() -> None:
    dockerfile = (HERE.parents[2] / "Dockerfile").read_text()
    context = POD["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in dockerfile


def test_selectors_find_pods() -> None:
    pods = [one["spec"]["template"]["metadata"]["labels"] for (kind, _), one in OBJECTS.items() if kind == "Deployment"]
    selectors = [
        one["spec"][key].get("matchLabels", one["spec"][key])
        for (kind, _), one in OBJECTS.items()
        for key in ("selector", "podSelector")
        if key in one.get("spec", {})
    ]
    assert len(selectors) == 8
    for selector in selectors:
        assert sum(selector.items() <= labels.items() for labels in pods) == 1
    assert OBJECTS["HorizontalPodAutoscaler", "gateway"]["spec"]["scaleTargetRef"]["name"] == "gateway"
    assert "replicas" not in OBJECTS["Deployment", "gateway"]["spec"]
