"""`gateway init`: a start that works, and nothing lost."""

import signal
from pathlib import Path

import pytest

from tests.cli.command import gateway
from tests.cli.conftest import Start
from tests.fakes.ports import free_port


def test_what_it_writes_is_right_and_serves(start: Start, tmp_path: Path) -> None:
    there = tmp_path / "new" / "gw"
    done = gateway("init", there)
    assert done.returncode == 0, done.stderr
    assert f"next: cd {there} && gateway check && gateway run" in done.stdout
    assert sorted(str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()) == [
        "config/gateway.schema.json",
        "config/gateway.yaml",
        "policies/policies.yaml",
        "policies/policy.schema.json",
    ]
    for name, schema in (
        ("config/gateway.yaml", "gateway.schema.json"),
        ("policies/policies.yaml", "policy.schema.json"),
    ):
        assert (there / name).read_text().startswith(f"# yaml-language-server: $schema={schema}\n")
    checked = gateway("check", there / "config" / "gateway.yaml", "--strict")
    assert checked.returncode == 0, checked.stdout
    port = free_port()
    words = ["--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--store", "local"]
    process = start("-m", "gateway", "run", "-q", *words, cwd=there, env={"PYTHONPATH": str(Path.cwd())})
    process.port = port
    process.wait_for("gateway.ready")
    answer = process.get("/hello", {"X-Tenant-Id": "acme", "X-Connection-Id": "c1"})
    assert answer.status == 200
    assert '"tenant-10m"' in answer.headers["RateLimit"]
    process.popen.send_signal(signal.SIGINT)
    process.ends_well()


def test_without_a_name_it_writes_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = gateway("init")
    assert done.stdout.splitlines()[-1] == "next: gateway check && gateway run"
    assert (tmp_path / "policies" / "policies.yaml").is_file()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "policies.yaml").symlink_to(tmp_path / "nowhere")
    done = gateway("init", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing written: already there" in done.stderr
    assert not (tmp_path / "config").exists()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["a\nfile", "file/below"])
def test_where_nothing_can_be_written_it_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    where = tmp_path / name
    if name == "a\nfile":
        assert gateway("init", where).returncode == 0  # an odd name is a name
    else:
        with pytest.raises(NotADirectoryError):  # which main tells in one line
            gateway("init", where)
