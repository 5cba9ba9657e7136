"""All pages that users read, taken apart into blocks. A page is listed by being there: none can be forgotten."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
FENCE = re.compile(r"^```(.*)\n((?:(?!```).*\n)*)```$", re.MULTILINE)
INDENTED = re.compile(r"(?<=\n\n)    +(?![-*\d]).*$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


class Block(NamedTuple):
    """A fenced block. `kind` is what stands behind the fence, as words: `yaml settings`; a file's name is `file`."""

    kind: str
    file: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """A page's blocks, in order."""
    text = page.read_text()
    found = []
    for fence in FENCE.finditer(text):
        words = fence[1].split()
        file = next((word for word in words if "." in word), "")
        kind = " ".join(word for word in words if word != file)
        found.append(Block(kind, file, fence[2], text.count("\n", 0, fence.start()) + 1))
    return found


def indented(page: Path) -> list[str]:
    """Lines that Markdown would show as code without a fence."""
    return INDENTED.findall(FENCE.sub("", page.read_text()))


class Command(NamedTuple):
    """One command of a `console` or `sh` block, and what the page says that it prints ("": it does not say)."""

    text: str
    told: str
    note: str


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block, lines that end in a backslash joined, the comment behind each apart."""
    if block.kind == "console":
        parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
        pairs = [split_first(part) for part in parts]
    else:
        pairs = [(line, "") for line in joined(block.text).splitlines() if line and not line.startswith("#")]
    for line, told in pairs:
        command, _, note = line.partition("  #") if "  #" in line else (line, "", "")
        yield Command(command.strip(), told, note.strip())


def joined(text: str) -> str:
    """Continued lines as one; a quote that is open at a line's end goes on in the next."""
    lines: list[str] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if lines and open_quote(lines[-1]):
            lines[-1] += "\n" + line
        else:
            lines.append(line)
    return "\n".join(line.replace("\n", " ") for line in lines)


def split_first(part: str) -> tuple[str, str]:
    """(command, output) of what follows a `$ `."""
    command, _, told = re.sub(r"\\\n\s*", "", part).partition("\n")
    return command, told


def open_quote(line: str) -> bool:
    try:
        shlex.split(line)
    except ValueError:
        return True
    return False


if __name__ == "__main__":  # for `.ci/run`: the commands of one program, one a line
    import sys

    for page in PAGES:
        for block in blocks(page):
            if block.kind in ("sh", "console"):
                for command in commands(block):
                    if command.text.split()[0] == sys.argv[1]:
                        sys.stdout.write(command.text + "\n")
