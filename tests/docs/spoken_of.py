"""Commands that a test cannot run (they need an engine, a cluster, the network or an hour): what they name must exist."""

import re
import shlex
import tomllib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperGroup

from gateway.cli import app
from tests.docs.pages import ROOT

IMAGE = "ratelimit-gateway"
UsageError = typer.BadParameter.__bases__[0]
"""What Typer raises for a wrong command line; it has no public name there."""


def gateway(words: Sequence[str]) -> dict[str, Any]:
    """The options of a `gateway ...` command line. Raises UsageError for what is not there."""
    command: Any = typer.main.get_command(app)
    rest, above = list(words), None
    while isinstance(command, TyperGroup):
        above = command.context_class(command, info_name=command.name, parent=above)
        _, command, rest = command.resolve_command(above, rest)
    options: dict[str, Any] = command.make_context(command.name, rest, parent=above).params
    return options


def container(words: Sequence[str]) -> None:
    """`docker build` and `docker run` of our image: what is behind its name are our options."""
    if words[0] == "compose":
        file = words[words.index("-f") + 1]
        assert (ROOT / file).is_file(), file
    elif words[0] == "build":
        dockerfile = (ROOT / "Dockerfile").read_text()
        for word, value in pairwise(words):
            assert word != "--build-arg" or f"ARG {value.partition('=')[0]}=" in dockerfile, value
    else:
        assert words[0] in ("run", "stop"), words
        if own := list(words[words.index(IMAGE) + 1 :]):
            gateway(own)


def kubectl(words: Sequence[str]) -> None:
    for word, value in pairwise(words):
        assert word != "-f" or (ROOT / value).exists(), value
    if words[0] in ("port-forward", "rollout"):
        assert "gateway" in " ".join(words), words


def pip(words: Sequence[str]) -> None:
    """`pip install 'ratelimit-gateway[extra]'`, `pip install -e '.[extra]'`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, extras in re.findall(r"(\S*)\[([^\]]+)\]", " ".join(words)):
        assert name in (".", project["name"]), name
        assert set(extras.split(",")) <= set(project["optional-dependencies"]), extras
    for word, value in pairwise(words):
        assert word not in ("-c", "--constraint") or (ROOT / value).is_file(), value


def module(words: Sequence[str]) -> None:
    """`python -m benchmarks.cost`, `python benchmarks/cost.py`."""
    path = words[1].replace(".", "/") if words[0] == "-m" else words[0].removesuffix(".py")
    assert (ROOT / f"{path}.py").is_file() or (ROOT / path / "__main__.py").is_file(), words


def paths(words: Sequence[str]) -> None:
    """Files of the checkout, given with a directory."""
    for word in words:
        path = word.partition("::")[0]
        if re.match(r"(tests|config|\.ci|policies)/", path):
            assert (ROOT / path).exists(), path


def anything(words: Sequence[str]) -> None:
    """Programs of others, used as their own documentation says."""


KNOWN: dict[str, Callable[[Sequence[str]], object]] = {
    "docker": container,
    "kubectl": kubectl,
    "pip": pip,
    "python": module,
    "pytest": paths,
    "rsyslogd": paths,
    "promtool": paths,
    "bash": paths,
    "install": paths,
    ".ci/image": anything,
    "ssh": anything,
    "systemctl": anything,
    "journalctl": anything,
    "jq": anything,  # run by `.ci/run`, which has it
}


def check(command: str) -> bool:
    """Whether a command is one of these; if it is, what it names is there (AssertionError)."""
    if command.startswith("python3 -m venv .venv"):  # README's two commands
        assert command in (ROOT / ".ci" / "run").read_text(), command
        return True
    words = shlex.split(re.sub(r"^\w+=\S+ ", "", command.removeprefix("sudo ")))
    if command.startswith("sudo "):
        KNOWN.get(words[0].rpartition("/")[2], anything)(words[1:])
        return True
    if words[0] == "gateway" and words[1] == "tail":  # until Ctrl-C
        gateway(words[1:])
        return True
    known = KNOWN.get(words[0].rpartition("bin/")[2])
    if known is None:
        return False
    known(words[1:])
    return True
