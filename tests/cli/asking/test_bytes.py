"""Words on the command line that are no UTF-8: keys of callers may be such bytes."""

import pytest

from gateway.cli.asking.client import path_to
from tests.cli.command import gateway

BYTE = "\udcff"  # as Python hands over the byte 0xff


def test_a_path_has_the_bytes_that_were_given() -> None:
    assert path_to("limits", "tenant-1m", BYTE, "a/b") == "/-/limits/tenant-1m/%FF/a%2Fb"


@pytest.mark.parametrize(
    "words",
    [
        ("limits", "show", "tenant-1m", BYTE),
        ("limits", "reset", "tenant-1m", "acme", "--reason", BYTE),
        ("breaker", "open", "crm", BYTE, "--reason", BYTE),
        ("connections", BYTE, "--tenant", BYTE),
        ("connections", "test", "c1", "--tenant", BYTE),
        ("cache", "purge", "--tenant", BYTE),
        ("webhooks", "list", BYTE),
        ("tail", "--tenant", BYTE),
        ("drain", "--reason", BYTE),
    ],
)
def test_no_command_stumbles_over_them(words: tuple[str, ...]) -> None:
    done = gateway(*words, "--admin", "127.0.0.1:1")
    assert (done.returncode, "no answer from the admin listener" in done.stderr) == (3, True), done.stderr


def test_a_tenant_without_a_connection_is_no_filter() -> None:
    done = gateway("connections", "--tenant", "acme", "--admin", "127.0.0.1:1")
    assert (done.returncode, "give its ID, too" in done.stderr) == (2, True)
