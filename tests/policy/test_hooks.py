"""Webhooks and the intake in the settings: what is wrong is told with its place, and never with a secret."""

from pathlib import Path

import pytest

from gateway.core.webhooks.intake import Scheme
from gateway.policy import PolicyErrors
from gateway.policy.changes import changes
from gateway.policy.effective import settings_lines
from gateway.policy.settings_file import load_settings
from gateway.settings import Settings

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0" * 2
ENV = {"S": SECRET, "BASIC": "ann:her-password", "WEAK": "whsec_AAAA"}
TARGET = """\
webhooks:
  targets:
    ops:
      url: https://hooks.example
      secrets: [env:S]
"""
SOURCE = """\
intake:
  sources:
    crm:
      verify: standard
      secrets: [env:S]
      to:
        sync: {url: "http://sync:8000/"}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> Settings:
    Path("s.yaml").write_text(f"version: 1\n{text}")
    return load_settings(Path("s.yaml"), ENV, {})


def test_what_is_said_is_what_is_done() -> None:
    more = "      events: [connection.*]\n      timeout: 3s\n      keep: {for: 1d, at_most: 7}\n  allow: [10.0.0.0/8]\n"
    text = TARGET + more + SOURCE
    settings = load(text)
    (target,), (source,) = settings.webhooks.targets, settings.intake.sources
    assert (target.name, target.events, target.receiver.timeout_us) == ("ops", ("connection.*",), 3_000_000)
    assert (target.receiver.keep, target.receiver.keep_us, source.to[0].keep) == (7, 86_400_000_000, 0)
    assert [str(network) for network in target.receiver.allowed] == ["10.0.0.0/8"]
    assert (source.name, source.scheme, source.id_header, source.to[0].name) == (
        "crm",
        Scheme.STANDARD,
        "webhook-id",
        "sync",
    )
    assert source.to[0].anywhere
    shown = "\n".join(settings_lines(settings, "embedded"))
    assert "[ops]" in shown
    assert "[crm]" in shown
    assert "secret" not in shown.lower()
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TARGET.replace("https://hooks.example", "ftp://x"), "s.yaml:5:12: this is not the URL of a receiver"),
        (TARGET.replace("https://hooks.example", "https://a:hunter2@x"), "s.yaml:5:12: the URL of a receiver holds no"),
        (TARGET.replace("env:S", "hunter2"), "s.yaml:6:17: a secret must not be written in the file"),
        (TARGET.replace("env:S", "env:NO"), "s.yaml:6:17: environment variable NO is not set"),
        (
            TARGET.replace("env:S", "env:WEAK"),
            "s.yaml:6:17: what env:WEAK holds cannot be used: it is not whsec_ and base64 of 24 to 64 bytes",
        ),
        (TARGET.replace("[env:S]", "[]"), "s.yaml:6:16: "),
        (
            TARGET.replace("ops:", "'o p':"),
            "s.yaml:4:5: 'o p' is not a name (letters, digits and . _ - only, at most 64)",
        ),
        (TARGET + "      events: [connection.ofline]\n", "s.yaml:7:16: nobody is told of 'connection.ofline'"),
        (TARGET + "      concurrency: 65\n", "s.yaml:7:20: "),
        (TARGET + "      ca_file: no.pem\n", "s.yaml:7:16: the certificates in no.pem cannot be used"),
        (TARGET + "      keep: {for: 1d, at_most: 100001}\n", "s.yaml:7:32: "),
        (TARGET + "      keep: {at_most: 1}\n", "s.yaml:7:"),
        (TARGET + "      color: red\n", "s.yaml:7:7: unknown key 'color'"),
        (TARGET + "  allow: [10.0.0.1/8]\n", "s.yaml:7:11: '10.0.0.1/8' has bits beyond its prefix"),
        (TARGET + "store: {url: local}\n", "s.yaml:2:1: webhooks must be kept somewhere"),
        (SOURCE + "store: {url: local}\n", "s.yaml:2:1: intake must be kept somewhere"),
        (SOURCE.replace("standard", "none"), "s.yaml:5:15: "),
        (SOURCE.replace("standard", "basic"), "s.yaml:6:17: what env:S holds must be"),
        (SOURCE + "      order_by: id\n", "s.yaml:9:17: 'id' is not a place in a webhook"),
        (SOURCE + "      place: /n\n", "s.yaml:9:7: place says which of those with one key comes first"),
        (SOURCE + "  path: hooks\n", "s.yaml:9:9: 'hooks' is not a path for webhooks"),
        (SOURCE + "  path: /a/../b\n", "s.yaml:9:9: '/a/../b' is not a path for webhooks"),
        (SOURCE.replace('{url: "http://sync:8000/"}', "{}"), "s.yaml:8:9: key 'url' is missing"),
    ],
)
def test_what_is_said_of_mistakes(text: str, said: str) -> None:
    with pytest.raises(PolicyErrors) as raised:
        load(text)
    told = [str(error) for error in raised.value.errors]
    assert any(line.startswith(said) for line in told), told
    assert not any("hunter2" in line or SECRET in line or "AAAA" in line for line in told)


def test_a_source_may_show_user_and_password() -> None:
    (source,) = load(SOURCE.replace("standard", "basic").replace("env:S", "env:BASIC")).intake.sources
    assert (source.scheme, source.keys, source.id_header) == (Scheme.BASIC, (b"ann:her-password",), "")


def test_a_reload_says_that_they_wait_for_new_workers() -> None:
    before, after = load(TARGET + SOURCE), load(TARGET.replace("ops", "oops") + SOURCE.replace("crm", "erp"))
    found = changes(before, after, before)
    assert found.new_workers == ("webhooks.targets", "intake.sources")
