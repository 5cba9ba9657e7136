"""What a running gateway reads again, and which settings it may change by that."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.policy import PolicyError, PolicyErrors
from gateway.policy.changes import changes, for_new_workers, in_force
from gateway.policy.sources import Sources
from gateway.settings import Bounds, Listen, Logging, Settings, StoreSettings


def test_a_stamp_changes_with_every_kind_of_save(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    settings = Settings(policies=policies)
    sources = Sources(config=tmp_path / "gateway.yaml")
    seen = [sources.stamp(settings)]

    def changed() -> bool:
        seen.append(sources.stamp(settings))
        return seen[-1] != seen[-2]

    assert not changed()
    (policies / "a.yaml").write_text("one")
    assert changed()
    os.utime(policies / "a.yaml", ns=(1, 1))
    assert changed()
    (policies / ".b").write_text("two")
    (policies / ".b").rename(policies / "a.yaml")
    assert changed()
    (tmp_path / "gateway.yaml").write_text("version: 1")
    assert changed()
    (policies / "a.yaml").unlink()
    assert changed()
    policies.rmdir()
    assert changed()


def test_standard_input_is_not_read_a_second_time(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("version: 1\n")
    sources = Sources(config=tmp_path / "gateway.yaml", options={"policies": "-"})
    for reading in (sources.read(), Sources(config=Path("-")).read()):
        assert [str(error) for error in reading.errors] == ["<stdin>: a pipe cannot be read a second time [unreadable]"]


def test_a_pipe_is_not_read_a_second_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gateway.yaml").write_text("version: 1\npolicies: pipe\n")
    reading = Sources(config=tmp_path / "gateway.yaml").read()
    assert reading.policies is None
    assert "a pipe cannot be read a second time" in str(reading.errors[0])


def nobody_may_look(at: Path) -> None:
    """Neither may root: what is there has a name that no file can have."""
    at.symlink_to("x" * 300)


def test_a_look_at_files_that_cannot_be_seen_goes_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sources, settings = Sources(), Settings(policies=tmp_path / "policies")
    before = sources.stamp(settings)
    nobody_may_look(tmp_path / "config")
    nobody_may_look(tmp_path / "policies")
    assert sources.stamp(settings) != before


def test_what_cannot_be_seen_is_told_and_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nobody_may_look(tmp_path / "config")
    assert [str(error) for error in Sources().read().errors] == [
        "config/gateway.yaml: cannot be read: File name too long [unreadable]"
    ]
    (tmp_path / "gateway.yaml").write_text("version: 1\npolicies: p.yaml\n")
    nobody_may_look(tmp_path / "p.yaml")
    assert [str(error) for error in Sources(config=Path("gateway.yaml")).read().errors] == [
        "p.yaml: cannot be read: File name too long [unreadable]"
    ]


def test_a_directory_in_the_place_of_the_settings_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "gateway.yaml").mkdir(parents=True)  # as Docker makes one for a file that is not there
    (error,) = Sources().read().errors
    assert str(error) == "config/gateway.yaml: cannot be read: Is a directory [unreadable]"


def test_policies_behind_a_circle_of_links_are_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gateway.yaml").write_text("version: 1\npolicies: loop\n")
    (error,) = Sources(config=tmp_path / "gateway.yaml").read().errors
    assert error.message == "cannot be read: Too many levels of symbolic links"


def test_what_is_wrong_with_variables_is_told_too(tmp_path: Path) -> None:
    def environment() -> dict[str, str]:
        raise PolicyErrors([PolicyError(".env", 0, 0, "bad-env-file", "expected NAME=value")])

    reading = Sources(environment=environment).read()
    assert [error.code for error in reading.errors] == ["bad-env-file"]


def test_each_key_takes_effect_at_once_with_new_workers_or_with_a_restart() -> None:
    old = Settings()
    new = replace(
        old,
        name="other",
        listen=Listen("127.0.0.1", 81),
        watchdog_us=None,
        trusted_proxies=("10.0.0.0/8",),
        store=StoreSettings(timeout_us=1),
        bounds=Bounds(body_bytes=5, sockets=7),
        logging=Logging(level="debug", access="off"),
    )
    found = changes(old, new, old)
    assert found.at_once == ("watchdog", "trusted_proxies", "bounds.body_bytes", "logging.level")
    assert found.new_workers == ("name", "bounds.sockets", "logging.access")
    assert found.restart == ("listen", "store.timeout")
    kept = replace(new, name=old.name, listen=old.listen, store=old.store)
    assert in_force(old, new) == replace(kept, bounds=Bounds(body_bytes=5), logging=Logging(level="debug"))
    assert for_new_workers(old, new) == replace(new, listen=old.listen, store=old.store)


def test_a_port_that_was_chosen_at_the_start_is_no_change() -> None:
    read, bound = Settings(listen=Listen("127.0.0.1", 0)), Settings(listen=Listen("127.0.0.1", 4711))
    assert changes(bound, read, read).restart == ()
