"""The headers of the scripts name the same fields, in the same order, as the code that packs and reads them."""

import re
from pathlib import Path

import pytest

from gateway.core.guards import Standing
from gateway.core.limits import Verdict
from gateway.store.scripts import guards, limits
from gateway.store.scripts.sources import ADMIT, RENEW, REPORT, Script
from gateway.store.shared import queues, shelf

LUA = Path(limits.__file__).parents[1] / "lua"


def header(name: str) -> str:
    """The comment lines at the top of a script."""
    lines = (LUA / f"{name}.lua").read_text("utf-8").splitlines()
    count = next(i for i, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[:count])


def named(prefix: str, text: str) -> tuple[str, ...]:
    return tuple(re.findall(rf"^--   {prefix}\.(\w+)\b", text, re.MULTILINE))


def arguments(text: str) -> tuple[str, ...]:
    """The names of ARGV[1], ARGV[2], ...: those with a fixed place."""
    found = re.findall(r"^-- ARGV\[(\d+)\]  (\w+) ", text, re.MULTILINE)
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1))
    return tuple(name for _, name in found)


@pytest.mark.parametrize(
    ("name", "argv", "reply"),
    [
        ("admit", limits.ADMIT_ARGV, tuple(name for name, _ in limits.ADMIT_REPLY)),
        ("release", limits.RELEASE_ARGV, limits.RELEASE_REPLY),
        ("renew", limits.RENEW_ARGV, limits.RENEW_REPLY),
        ("grant", limits.GRANT_ARGV, limits.GRANT_REPLY),
        ("settle", limits.SETTLE_ARGV, limits.SETTLE_REPLY),
        ("report", guards.REPORT_ARGV, ()),
        ("force", guards.FORCE_ARGV, ()),
        ("list", guards.LIST_ARGV, ()),
        ("pause", guards.PAUSE_ARGV, guards.PAUSE_REPLY),
        ("queue_append", queues.APPEND_ARGV, ("result", "sequence")),
        ("queue_take", queues.TAKE_ARGV, ()),
        ("queue_settle", queues.SETTLE_ARGV, ("settled", "resting", "failures", "lost")),
        ("queue_show", queues.SHOW_ARGV, queues.Standing._fields),
        ("queue_again", queues.AGAIN_ARGV, queues.Again._fields),
        ("token", shelf.TOKEN_ARGV, shelf.TOKEN_REPLY),
    ],
)
def test_arguments_and_reply(name: str, argv: tuple[str, ...], reply: tuple[str, ...]) -> None:
    assert arguments(header(name)) == argv
    assert named("reply", header(name)) == reply
    assert re.search(r"KEYS\[[i1]\]", header(name))


def test_verdict_and_standing_fields() -> None:
    assert named("verdict", header("admit")) == Verdict._fields
    assert named("standing", header("admit")) == Standing._fields


def test_change_fields() -> None:
    assert named("change", header("report") + "\n") == named("change", header("force")) == guards.CHANGE_FIELDS


@pytest.mark.parametrize(
    ("what", "fields", "script"),
    [
        ("rule", limits.RULE_FIELDS, ADMIT),
        ("reply", limits.ADMIT_REPLY, ADMIT),
        ("verdict", limits.VERDICT_FIELDS, ADMIT),
        ("standing", guards.STANDING_FIELDS, ADMIT),
        ("guard", guards.GUARD_FIELDS, ADMIT),
        ("report", guards.REPORT_FIELDS, REPORT),
    ],
)
def test_packed_fields_and_their_bytes(what: str, fields: tuple[tuple[str, int], ...], script: Script) -> None:
    described = re.findall(rf"^--   {what}\.(\w+) +(\d)\b", header(script.name), re.MULTILINE)
    assert tuple((name, int(size)) for name, size in described) == fields
    packed = "".join("B" if size == 1 else f"I{size}" for _, size in fields)
    assert f"local {what.upper()}" in script.source
    assert f"'>{packed}'" in script.source


def test_first_arguments_are_where_the_scripts_look_for_them() -> None:
    """The op stands first, so that a later script can tell an older caller by it."""
    assert limits.ADMIT_ARGV[0] == limits.RELEASE_ARGV[0] == limits.RENEW_ARGV[0] == "op"
    assert f"tonumber(ARGV[{limits.ADMIT_ARGV.index('now_us') + 1}])" in ADMIT.source
    assert guards.REPORT_ARGV[:2] == guards.FORCE_ARGV[:2] == guards.PAUSE_ARGV[:2] == limits.ADMIT_ARGV[:2]
    assert f"tonumber(ARGV[{limits.RENEW_ARGV.index('now_us') + 1}])" in RENEW.source
    assert f"ARGV[{len(limits.ADMIT_ARGV)} + i]" in ADMIT.source
