"""The headers of the scripts name the same fields, in the same order, as the code that packs and reads them."""

import re
from pathlib import Path

import pytest

import gateway.store.scripts as scripts
from gateway.core.limits import Verdict

LUA = Path(scripts.__file__).parent / "lua"


def header(name: str) -> str:
    """The comment lines at the top of a script."""
    lines = (LUA / f"{name}.lua").read_text("utf-8").splitlines()
    count = next(i for i, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[:count])


def named(prefix: str, text: str) -> tuple[str, ...]:
    return tuple(re.findall(rf"^--   {prefix}\.(\w+) ", text, re.MULTILINE))


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
    ],
)
def test_arguments_and_reply(name: str, argv: tuple[str, ...], reply: tuple[str, ...]) -> None:
    assert arguments(header(name)) == argv
    assert named("reply", header(name)) == reply
    assert "KEYS[i]" in header(name)


def test_verdict_fields() -> None:
    assert named("verdict", header("admit")) == Verdict._fields


def test_rule_fields_and_their_bytes() -> None:
    described = re.findall(r"^--   rule\.(\w+) +(\d) ", header("admit"), re.MULTILINE)
    assert tuple((name, int(size)) for name, size in described) == scripts.RULE_FIELDS
    packed = "".join("B" if size == 1 else f"I{size}" for _, size in scripts.RULE_FIELDS)
    assert f"local RULE = '>{packed}'" in scripts.ADMIT.source


def test_first_arguments_are_where_the_scripts_look_for_them() -> None:
    """The op stands first, so that a later script can tell an older caller by it."""
    assert scripts.ADMIT_ARGV[0] == scripts.RELEASE_ARGV[0] == scripts.RENEW_ARGV[0] == "op"
    assert f"tonumber(ARGV[{scripts.ADMIT_ARGV.index('now_us') + 1}])" in scripts.ADMIT.source
    assert f"tonumber(ARGV[{scripts.RENEW_ARGV.index('now_us') + 1}])" in scripts.RENEW.source
    assert f"ARGV[{len(scripts.ADMIT_ARGV)} + i]" in scripts.ADMIT.source
