"""Constants of Lua texts are put in where they are used, and nothing else is touched."""

from pathlib import Path

import pytest

import gateway.store
from gateway.store.scripts.constants import inlined

LUA = Path(gateway.store.__file__).parent / "lua"


def body(lua: str) -> str:
    """What is behind the definitions in the first line."""
    return inlined(lua).partition("\n")[2]


@pytest.mark.parametrize(
    ("definition", "put_in"),
    [
        ("local MOST = 53", "53"),
        ("local MOST = 0x71 -- of all", "0x71"),
        ("local MOST = '>BI4, I7'", "'>BI4, I7'"),
        ("local MOST = '-- 5'", "'-- 5'"),
        ("local MOST = 2 ^ 32 - 1", "(2 ^ 32 - 1)"),
        ("local MOST = 30 * 24 * 3600 -- a month", "(30 * 24 * 3600)"),
        ("local FIRST, MOST, LAST = 'a, b', 7, 8", "7"),
        # Not a literal: remains a variable.
        ("local MOST = {1, 2}", "MOST"),
        ("local MOST = 60 * SECOND", "MOST"),
        ("local MOST = string.rep('I4', 30)", "MOST"),
        ("local MOST = 1, other()", "MOST"),
        ("local most = 5", "MOST"),
        ("  local MOST = 5", "MOST"),
    ],
)
def test_what_is_put_in(definition: str, put_in: str) -> None:
    assert inlined(f"{definition}\nreturn MOST + MOST\n") == f"{definition}\nreturn {put_in} + {put_in}\n"


@pytest.mark.parametrize(
    "line",
    [
        "-- MOST is the bound",
        "return 1 -- and not MOST",
        "return 'MOST', 'it\\'s MOST', '-- ' .. 'MOST'",
        "return redis.MOST, at.MOST.x, ALMOST, MOST_OF, x:MOST()",
    ],
)
def test_what_is_left_alone(line: str) -> None:
    assert body(f"local MOST = 5\n{line}\n") == f"{line}\n"


def test_strings_and_comments_do_not_hide_what_follows() -> None:
    assert body("local MOST = 5\nf('a -- b', MOST) -- it's MOST\ng(MOST)\n") == "f('a -- b', 5) -- it's MOST\ng(5)\n"


def test_defined_twice() -> None:
    with pytest.raises(ValueError, match="MOST is defined twice"):
        inlined("local MOST = 5\nlocal MOST = 5\n")


@pytest.mark.parametrize("path", sorted(LUA.glob("*.lua")), ids=lambda path: path.stem)
def test_the_texts_have_only_what_is_understood(path: Path) -> None:
    """Strings in single quotes, comments to the end of the line; every line stays where it was."""
    lua = path.read_text("utf-8")
    code = "\n".join(line.partition("--")[0] for line in lua.splitlines())
    assert '"' not in code
    assert "[[" not in lua
    assert "[=" not in lua
    assert inlined(lua).count("\n") == lua.count("\n")
