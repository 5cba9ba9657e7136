"""`gateway top --repeats`: what people read."""

from typing import Any

from gateway.cli.watching.repeats import repeat_lines
from tests.cli.command import gateway

FOUND: dict[str, Any] = {
    "over_s": 60.0,
    "missing": [{"worker": 1, "reason": "not watching"}],
    "reads": 130,
    "repeated": 11,
    "repeats": [
        {
            "route": "crm",
            "tenant": "acme",
            "connection": "c1",
            "path": "/crm/deals",
            "query": True,
            "count": 12,
            "at_most": 12,
            "every_s": 5.0,
            "saves": 11,
            "limits": [{"limit": "tenant-10m", "key": "acme", "units": 11, "share_ppm": 220_000}],
        },
    ],
}


def test_the_table() -> None:
    lines = list(repeat_lines(FOUND))
    assert lines[0] == "11 of 130 reads in 60 s were asked before by the same caller"
    assert lines[1] == "without worker 1: not watching"
    assert " ".join(lines[-1].split()) == "crm acme/c1 /crm/deals?... 12 5 s 11 22.0 % of tenant-10m"


def test_a_share_of_a_window_that_was_not_seen_to_its_end() -> None:
    (one,) = FOUND["repeats"]
    supposed = {**one, "limits": [{**one["limits"][0], "supposed": True}]}
    last = list(repeat_lines({**FOUND, "repeats": [supposed]}))[-1]
    assert last.endswith(" 11; going on like this 22.0 % of tenant-10m")


def test_nothing_is_repeated() -> None:
    assert len(list(repeat_lines({**FOUND, "missing": [], "repeats": []}))) == 1


def test_it_is_no_page_that_draws_itself_anew() -> None:
    done = gateway("top", "--repeats", "--watch")
    assert done.returncode == 2
    assert "leave --watch out" in done.stderr


def test_nothing_else_is_counted_for_a_while() -> None:
    """Who asks for ten minutes is not shown the last two."""
    done = gateway("top", "--for", "10m")
    assert done.returncode == 2
    assert "add --repeats" in done.stderr
