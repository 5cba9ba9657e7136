"""config/deploy/compose.yaml starts what it says, with options and files that exist."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.policy import check
from gateway.policy.settings_file import load_settings
from tests.conftest import StartServer
from tests.deploy.options import said, settings_given

HERE = Path(__file__).parents[2] / "config" / "deploy"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]
GATEWAY, VALKEY = SERVICES["gateway"], SERVICES["valkey"]


def mounted(etc: Path) -> None:
    """What the gateway's container finds in /etc/gateway."""
    for volume in GATEWAY["volumes"]:
        source, target, access = volume.split(":")
        assert access == "ro"
        place = etc / Path(target).relative_to("/etc/gateway")
        place.parent.mkdir(exist_ok=True)
        place.symlink_to((HERE / source).resolve(strict=True))


def test_the_gateway_starts_with_files_and_options_that_are_valid(tmp_path: Path) -> None:
    mounted(tmp_path)
    config = said(GATEWAY["command"], tmp_path)["config"]
    settings = load_settings(config, GATEWAY["environment"], settings_given(GATEWAY["command"], tmp_path))
    assert str(settings.listen) == "0.0.0.0:8080"
    assert settings.store.url == "redis://valkey:6379/0"
    assert settings.policies.resolve() == (HERE.parents[1] / "policies")
    assert check([settings.policies]).errors == ()
    drain_s = (settings.drain.delay_us + settings.drain.grace_us) / 1_000_000
    assert int(GATEWAY["stop_grace_period"].removesuffix("s")) > drain_s + 2
    assert "8080:8080" in GATEWAY["ports"]


def test_its_health_is_asked_for_with_the_settings_it_runs_with(tmp_path: Path) -> None:
    how, program, command, *options = GATEWAY["healthcheck"]["test"]
    assert (how, program, command) == ("CMD", "gateway", "healthcheck")
    assert said([command, *options], tmp_path)["config"] == said(GATEWAY["command"], tmp_path)["config"]


def test_the_store_it_is_told_of_is_there() -> None:
    assert GATEWAY["environment"]["GATEWAY_STORE__URL"].split("/")[2].split(":")[0] in SERVICES
    assert set(GATEWAY["depends_on"]) == {"valkey"}


def test_the_build_s_arguments_are_the_dockerfile_s() -> None:
    dockerfile = HERE / GATEWAY["build"]["context"] / "Dockerfile"
    assert [f"ARG {name}=" in dockerfile.read_text() for name in GATEWAY["build"]["args"]] == [True]


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_no_service_may_do_more_than_it_needs(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_valkey_takes_its_options(start_redis_server: StartServer) -> None:
    program, *options = VALKEY["command"]
    assert program == "valkey-server"
    server = start_redis_server(*options)
    assert server.client(decode_responses=True).config_get("maxmemory*")["maxmemory-policy"] == "noeviction"
