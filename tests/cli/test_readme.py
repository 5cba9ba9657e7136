"""The README is true: its links lead somewhere, its policy is valid, its transcript is what really happens."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import policy
from tests.cli.conftest import Start

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = DOCUMENTS[0].read_text()


def blocks(language: str) -> list[str]:
    """The contents of the README's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_policy_is_valid(tmp_path: Path) -> None:
    (example,) = blocks("yaml")
    path = tmp_path / "crm.yaml"
    path.write_text(example)
    report = policy.check([path])
    assert report.errors == ()
    assert report.warnings == ()


def test_the_transcript_is_what_happens(start_gateway: Start) -> None:
    process = start_gateway()
    for block in blocks("console"):
        for command, told in exchanges(block):
            really = command.replace("127.0.0.1:8080", f"127.0.0.1:{process.port}")
            done = subprocess.run(shlex.split(really), capture_output=True, text=True, check=True).stdout
            assert steady(shown(done, told)) == steady(told), command


def exchanges(block: str) -> Iterator[tuple[str, str]]:
    """(command, output) of each `$ ` line and what follows it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, told = part.partition("\n")
        yield command, told


def shown(done: str, told: str) -> str:
    """What the transcript shows of an answer: all of it, or the head alone."""
    head, _, _ = done.replace("\r\n", "\n").partition("\n\n")
    return head + "\n" if told.startswith("HTTP/") and "\n\n" not in told else done.replace("\r\n", "\n")


def steady(text: str) -> str:
    """Without what is different every time: the date, ids, seconds left, versions, lengths."""
    for pattern, instead in (
        (r"Date: .*", "Date: ..."),
        (r"Server: .*", "Server: ..."),
        (r"Content-Length: .*", "Content-Length: ..."),
        (r"[0-9a-f]{20}", "ID"),
        (r"(t=|Reset: |Retry-After: |\"retry_after\":)\d+", r"\1N"),
    ):
        text = re.sub(pattern, instead, text)
    return text.strip()
