"""Who may use which library. (Which of our own modules may import which: `lint-imports`.)"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "gateway"

PURE = {
    "array",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "re",
    "struct",
    "types",
    "typing",
    "urllib",
    "zlib",
}
"""Of the standard library, what the core may use: nothing here does I/O, reads a clock or throws dice."""

USERS = {
    "opentelemetry": {"observe"},
    "aiohappyeyeballs": {"upstream"},
    "aiohttp": {"admin", "identity", "modules", "unanswered", "upstream", "wire"},
    "aiolimiter": {"guards"},
    "cryptography": {"identity", "modules"},
    "hiredis": {"store"},
    "jwt": {"identity"},
    "multidict": {"admin", "upstream", "wire"},
    "orjson": {"admin", "identity", "modules", "observe", "refuse", "replay", "siblings", "store", "upstream"},
    "prometheus_client": {"admin", "observe", "supervisor"},
    "pydantic": {"policy"},
    "pydantic_core": {"policy"},
    "redis": {"store"},
    "rich": {"cli"},
    "structlog": {"observe"},
    "typer": {"cli"},
    "uvloop": {"supervisor"},
    "yaml": {"policy"},
}
"""Library -> the rooms at whose edge its types and errors stop."""


def imports(path: Path) -> Iterator[str]:
    """Dotted names of the modules a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@cache
def every_import() -> frozenset[tuple[str, str]]:
    """(room, imported module) for every import of the package that is not of the package itself."""
    named = ((path.relative_to(PACKAGE).parts[0].removesuffix(".py"), imports(path)) for path in PACKAGE.rglob("*.py"))
    return frozenset((room, name) for room, names in named for name in names if name.partition(".")[0] != "gateway")


def test_the_core_uses_only_what_is_pure() -> None:
    used = {name.partition(".")[0] for room, name in every_import() if room == "core"}
    assert used <= PURE
    clocks = re.compile(r"\b(datetime|date)\.(now|today|utcnow)\b")
    assert [path.name for path in (PACKAGE / "core").rglob("*.py") if clocks.search(path.read_text())] == []


def test_a_library_is_used_only_where_its_errors_are_handled() -> None:
    foreign = {(room, name.partition(".")[0]) for room, name in every_import()}
    strays = [(room, name) for room, name in foreign if name not in sys.stdlib_module_names]
    assert [(room, name) for room, name in strays if room not in USERS.get(name, set())] == []


def test_inner_parts_of_aiohttp_are_used_only_on_the_wire() -> None:
    """They may change with any release: one room, a pinned range, and a contract test there."""
    public = {"aiohttp", "aiohttp.typedefs", "aiohttp.web"}
    inner = {(room, name) for room, name in every_import() if name.startswith("aiohttp.") and name not in public}
    assert {room for room, _ in inner} <= {"wire"}
