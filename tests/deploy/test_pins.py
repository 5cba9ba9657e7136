"""config/constraints.txt pins all that an image can be built with: every dependency, extras and theirs included."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOR_TESTS = {"test", "browser"}
PINS = (ROOT / "config" / "constraints.txt").read_text().splitlines()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


Wanted = tuple[str, frozenset[str]]
"""A distribution, and which of its extras."""


def asked_for(requirements: Iterable[str], extras: frozenset[str]) -> Iterator[Wanted]:
    """What requirements come to on any platform, with these extras."""
    for line in requirements:
        requirement, _, marker = line.partition(";")
        needed = {canonical(extra) for extra in re.findall(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)}
        found = re.match(r"([\w.-]+)(?:\[([^\]]*)\])?", requirement)
        assert found is not None
        if not needed or extras & needed:
            yield (
                canonical(found[1]),
                frozenset(canonical(extra.strip()) for extra in (found[2] or "").split(",") if extra),
            )


def everything() -> set[str]:
    """Names of all installed distributions that the gateway, with its extras, comes to."""
    optional = {name: wanted for name, wanted in PROJECT["optional-dependencies"].items() if name not in FOR_TESTS}
    seen: set[Wanted] = set()
    waiting = [*asked_for([*PROJECT["dependencies"], *chain.from_iterable(optional.values())], frozenset())]
    while waiting:
        name, extras = one = waiting.pop()
        if one not in seen and _installed(name):
            seen.add(one)
            waiting.extend(asked_for(metadata.requires(name) or [], extras))
    return {name for name, _ in seen}


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False  # for another platform or Python
    return True


def test_every_dependency_is_pinned() -> None:
    pinned = {canonical(line.split("==")[0]) for line in PINS}
    assert {"aiohttp", "pyjwt", "cryptography", "cffi", "opentelemetry-sdk"} <= everything()
    assert everything() - pinned == set()


def test_pins_are_plain_lines_in_order_and_name_no_host() -> None:
    for line in PINS:
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; [\w .'!=<>-]+)?", line), line
    names = [line.split("==")[0] for line in PINS]
    assert names == sorted(set(names))
