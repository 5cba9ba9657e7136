"""Fixture files: read strictly, with places, and never from outside of their directory."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.policy import Route
from gateway.core.sandbox import Fixtures, Reply
from gateway.core.sandbox.samples import Asked
from gateway.policy import Report

POLICY = """
version: 1
upstreams: {up: {url: builtin:echo}}
routes:
  - name: all
    upstream: up
    modules: {sandbox: {when: {header: X-Connection-Id, prefix: sbx_}, fixtures: %s}}
"""
Check = Callable[..., Report]


@pytest.fixture
def errors_in(report_of: Check, directory: Path) -> Callable[[str], list[str]]:
    """What is wrong with a fixture file of this text."""

    def of(text: str) -> list[str]:
        (directory / "fix").mkdir(exist_ok=True)
        (directory / "fix" / "fixtures.yaml").write_text(text)
        return [str(error) for error in report_of(POLICY % "fix").errors]

    return of


def fixtures(report: Report) -> Fixtures:
    assert report.policies is not None, report.errors
    route: Route = report.policies.routes[0]
    assert route.sandbox is not None
    return route.sandbox.fixtures


def body_of(report: Report, path: str) -> bytes:
    reply = fixtures(report).reply(Asked("GET", path, "", {}))
    assert isinstance(reply, Reply)
    return reply.body


GOOD = """
version: 1
records:
  orders: {items: [{id: 7, a: 1}]}
  products: {file: data/products.json}
answers:
  - {match: {path: "/o/{id}"}, read: orders}
  - {match: {path: "/p"}, list: products, wrap: null}
  - {match: {path: "/text"}, body: plain}
  - {match: {path: "/none"}, status: 204}
  - {match: {path: "/file"}, file: data/picture.png, headers: {Cache-Control: no-store}}
"""


@pytest.fixture
def good(directory: Path) -> Path:
    home = directory / "fix"
    (home / "data").mkdir(parents=True)
    (home / "fixtures.yaml").write_text(GOOD)
    (home / "data" / "products.json").write_text('[\n\t{"id": "x", "price": 1.5}\n]')
    (home / "data" / "picture.png").write_bytes(b"\x89PNG\x00")
    return home


@pytest.mark.parametrize("named", ["fix", "fix/fixtures.yaml"])
def test_everything_is_read(report_of: Check, good: Path, named: str) -> None:
    report = report_of(POLICY % named)
    assert report.errors == report.warnings == ()
    assert body_of(report, "/o/7") == b'{"id":7,"a":1}'
    assert body_of(report, "/p") == b'[{"id":"x","price":1.5}]'
    assert body_of(report, "/text") == b"plain"
    assert body_of(report, "/file") == b"\x89PNG\x00"
    reply = fixtures(report).reply(Asked("GET", "/file", "", {}))
    assert isinstance(reply, Reply)
    assert reply.fields[:2] == (("Content-Type", "application/octet-stream"), ("Cache-Control", "no-store"))


@pytest.mark.parametrize("changed", ["fixtures.yaml", "data/products.json", "data/picture.png"])
def test_every_file_is_part_of_the_version_and_watched(report_of: Check, good: Path, changed: str) -> None:
    before = report_of(POLICY % "fix").policies
    (good / changed).write_bytes(
        (good / changed).read_bytes().replace(b"plain", b"other").replace(b".5", b".6").replace(b"N", b"M")
    )
    after = report_of(POLICY % "fix").policies
    assert before is not None
    assert after is not None
    assert before.version != after.version
    assert fixtures(report_of(POLICY % "fix")) != before.routes[0].sandbox
    assert str(Path("fix") / changed) in after.beside


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "fix/fixtures.yaml:1:1: the file is empty [empty]"),
        ("answers: []", "fix/fixtures.yaml:1:10: must not be empty [empty]"),
        ("answer: []", "fix/fixtures.yaml:1:1: unknown key 'answer' (did you mean 'answers'?) [unknown-key]"),
        (
            "answers:\n  - {match: {path: /a}, list: orders}",
            "fix/fixtures.yaml:2:31: records 'orders' are not defined [undefined-name]",
        ),
        (
            "answers:\n  - {match: {path: /a}, body: 1, file: x}",
            "fix/fixtures.yaml:2:34: give only one of body, file [conflicting-keys]",
        ),
        (
            "answers:\n  - {match: {path: /a}, status: 101}",
            "fix/fixtures.yaml:2:33: must be at least 200, got 101 [out-of-range]",
        ),
        (
            "answers:\n  - {match: {path: /a}, status: 204, body: x}",
            "fix/fixtures.yaml:2:33: an answer with 204 has no body [conflicting-keys]",
        ),
        (
            "answers:\n  - {match: {path: /a}, delay: 2m}",
            "fix/fixtures.yaml:2:32: a delay must be at most 60s [out-of-range]",
        ),
        (
            "answers:\n  - {match: {path: /a}, headers: {RateLimit: x}}",
            "fix/fixtures.yaml:2:35: RateLimit is the gateway's to say [bad-header-name]",
        ),
        (
            'answers:\n  - {match: {path: /a}, headers: {X-A: "b\\r\\nc: d"}}',
            "fix/fixtures.yaml:2:40: 'b\\r\\nc: d' is no value of a header [bad-header-value]",
        ),
        (
            "records: {o: {items: [{a: 1}]}}\nanswers: [{match: {path: /a}}]",
            "fix/fixtures.yaml:1:23: the record has no 'id' (text or a whole number) [missing-key]",
        ),
        (
            'records: {o: {items: [{id: 1}, {id: "1"}]}}\nanswers: [{match: {path: /a}}]',
            "fix/fixtures.yaml:1:37: record '1' stands twice [duplicate-name]",
        ),
        (
            "records: {o: {required: {a: text}, optional: {a: text}}}\nanswers: [{match: {path: /a}}]",
            "fix/fixtures.yaml:1:47: 'a' is required and optional [conflicting-keys]",
        ),
        (
            "records: {o: {required: {a: date}}}\nanswers: [{match: {path: /a}}]",
            "fix/fixtures.yaml:1:29: expected one of text, number, integer, boolean, list, object, got the text 'date'"
            " [unknown-value]",
        ),
        (
            "records: {o: {}}\nanswers: [{match: {path: /a}, read: o}]",
            "fix/fixtures.yaml:2:26: nothing in the path says which record is read (/orders/{id}) [no-path-parameter]",
        ),
        (
            "records: {o: {}}\nanswers: [{match: {method: PUT, path: /a}, write: o}]",
            "fix/fixtures.yaml:2:39: nothing in the path says which record is written over (only POST writes new ones)"
            " [no-path-parameter]",
        ),
        (
            "records: {o: {items: [{id: 1}], file: x.json}}\nanswers: [{match: {path: /a}}]",
            "fix/fixtures.yaml:1:33: give items or file, not both [conflicting-keys]",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(errors_in: Callable[[str], list[str]], text: str, error: str) -> None:
    assert error in errors_in(text)


@pytest.mark.parametrize("name", ["../p.yaml", "/etc/passwd", "a/../../p.yaml", "link", "circle"])
@pytest.mark.parametrize(
    "place", ["answers: [{match: {path: /a}, file: %s}]", "records: {o: {file: %s}}\nanswers: [{match: {path: /a}}]"]
)
def test_nothing_is_read_from_outside(
    errors_in: Callable[[str], list[str]], directory: Path, name: str, place: str
) -> None:
    (directory / "fix").mkdir()
    (directory / "fix" / "link").symlink_to("/etc/hostname")
    (directory / "fix" / "circle").symlink_to("circle")
    found = errors_in(place % name)
    assert len(found) == 1
    leads_nowhere = name == "circle" and sys.version_info >= (3, 13)  # from then on a circle resolves to itself
    assert found[0].endswith(
        "there is no file 'circle' (Too many levels of symbolic links) [not-found]"
        if leads_nowhere
        else "(name a file beside this one, or below) [outside]"
    )


@pytest.mark.parametrize("name", ["missing.json", "pipe", "."])
def test_what_is_no_file_is_said(errors_in: Callable[[str], list[str]], directory: Path, name: str) -> None:
    (directory / "fix").mkdir()
    os.mkfifo(directory / "fix" / "pipe")
    (error,) = errors_in(f"answers: [{{match: {{path: /a}}, file: {name}}}]")
    assert error.endswith(f"there is no file '{name}' [not-found]")


@pytest.mark.parametrize(
    ("named", "missing"),
    [("nowhere", "nowhere"), ("pipe", "pipe"), ("empty", "empty/fixtures.yaml")],
)
def test_a_place_without_fixtures(report_of: Check, directory: Path, named: str, missing: str) -> None:
    (directory / "empty").mkdir()
    os.mkfifo(directory / "pipe")
    (error,) = report_of(POLICY % named).errors
    assert str(error) == f"p.yaml:7:82: there is no file '{missing}' [not-found]"


def test_sizes_are_bounded(errors_in: Callable[[str], list[str]], directory: Path) -> None:
    (directory / "fix").mkdir()
    (directory / "fix" / "big").write_bytes(b"x" * (1024 * 1024 + 1))
    (directory / "fix" / "full").write_bytes(b"x" * (1024 * 1024))
    (error,) = errors_in("answers: [{match: {path: /a}, file: big}]")
    assert error.endswith("larger than 1 MiB [too-large]")
    (error,) = errors_in("answers:\n" + "  - {match: {path: /a}, file: full}\n" * 9)
    assert error == ("fix/fixtures.yaml:10:31: all records and bodies together are larger than 8 MiB [too-large]")
    many = ", ".join(f"{{id: {n}}}" for n in range(1001))
    (error,) = errors_in(f"records: {{o: {{items: [{many}]}}}}\nanswers: [{{match: {{path: /a}}}}]")
    assert error.endswith("more than 1000 entries [out-of-range]")


@pytest.mark.parametrize(
    ("when", "error"),
    [
        ("{header: X-A, key: tenant, prefix: a}", "give either header or key [conflicting-keys]"),
        ("{prefix: a}", "give either header or key [conflicting-keys]"),
        ("{header: X-A}", "give values or a prefix [missing-key]"),
        (
            "{header: X-Request-Id, prefix: a}",
            "x-request-id is another for each call and cannot choose [bad-header-name]",
        ),
        ("{key: tenant, prefix: a}", "key part 'tenant' is not defined [undefined-name]"),
    ],
)
def test_when_is_checked(report_of: Check, good: Path, when: str, error: str) -> None:
    text = (POLICY % "fix").replace("{header: X-Connection-Id, prefix: sbx_}", when)
    assert any(str(found).endswith(error) for found in report_of(text).errors)
