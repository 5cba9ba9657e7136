"""The headers of the scripts name the same fields, in the same order, as the code that packs and reads them."""

import re
from pathlib import Path

import pytest

import gateway.store.scripts.guards as guarding
import gateway.store.scripts.limits as scripts
import gateway.store.shared.queues as queues
import gateway.store.shared.shelf as shelf
from gateway.core.guards import Standing
from gateway.core.limits import Verdict

LUA = Path(scripts.__file__).parents[1] / "lua"


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
        ("admit", scripts.ADMIT_ARGV, scripts.ADMIT_REPLY),
        ("release", scripts.RELEASE_ARGV, scripts.RELEASE_REPLY),
        ("renew", scripts.RENEW_ARGV, scripts.RENEW_REPLY),
        ("grant", scripts.GRANT_ARGV, scripts.GRANT_REPLY),
        ("settle", scripts.SETTLE_ARGV, scripts.SETTLE_REPLY),
        ("report", guarding.REPORT_ARGV, ()),
        ("force", guarding.FORCE_ARGV, ()),
        ("list", guarding.LIST_ARGV, ()),
        ("pause", guarding.PAUSE_ARGV, guarding.PAUSE_REPLY),
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
    assert named("change", header("report") + "\n") == named("change", header("force")) == guarding.CHANGE_FIELDS


@pytest.mark.parametrize(
    ("what", "fields", "script"),
    [
        ("rule", scripts.RULE_FIELDS, scripts.ADMIT),
        ("guard", guarding.GUARD_FIELDS, scripts.ADMIT),
        ("report", guarding.REPORT_FIELDS, scripts.REPORT),
    ],
)
def test_packed_fields_and_their_bytes(what: str, fields: tuple[tuple[str, int], ...], script: scripts.Script) -> None:
    described = re.findall(rf"^--   {what}\.(\w+) +(\d)\b", header(script.name), re.MULTILINE)
    assert tuple((name, int(size)) for name, size in described) == fields
    packed = "".join("B" if size == 1 else f"I{size}" for _, size in fields)
    assert f"local {what.upper()}" in script.source
    assert f"'>{packed}'" in script.source


def test_first_arguments_are_where_the_scripts_look_for_them() -> None:
    """The op stands first, so that a later script can tell an older caller by it."""
    assert scripts.ADMIT_ARGV[0] == scripts.RELEASE_ARGV[0] == scripts.RENEW_ARGV[0] == "op"
    assert f"tonumber(ARGV[{scripts.ADMIT_ARGV.index('now_us') + 1}])" in scripts.ADMIT.source
    assert guarding.REPORT_ARGV[:2] == guarding.FORCE_ARGV[:2] == guarding.PAUSE_ARGV[:2] == scripts.ADMIT_ARGV[:2]
    assert f"tonumber(ARGV[{scripts.RENEW_ARGV.index('now_us') + 1}])" in scripts.RENEW.source
    assert f"ARGV[{len(scripts.ADMIT_ARGV)} + i]" in scripts.ADMIT.source
