"""What pages point to is there: pages, headings, files, commands."""

import re
from pathlib import Path

import pytest

from tests.docs import spoken_of
from tests.docs.pages import FENCE, PAGES, ROOT, name_of

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
OURS = re.compile(r"(?:tests|gateway|config|policies|benchmarks|docs|\.ci)/[\w./-]*[\w/]")
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z_]+\b|…")


def anchors(page: Path) -> set[str]:
    """How headings are called in addresses, as on the pages of Git hosts."""
    found: dict[str, int] = {}
    for title in HEADING.findall(FENCE.sub("", page.read_text())):
        plain = LINK.sub(lambda link: link[0].partition("]")[0].lstrip("!["), title)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return set(found) | {f"{name}-{n}" for name, many in found.items() for n in range(1, many + 1)}


def wrong(page: Path, link: str) -> bool:
    """Whether a link inside the project leads nowhere."""
    if re.match(r"[a-z]+:", link):
        return False
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or bool(anchor and target.suffix == ".md" and anchor not in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(FENCE.sub("", page.read_text()))
    assert [link for link in links if wrong(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    named = {path for code in codes(page) for path in OURS.findall(code) if code.startswith(path) or " " in code}
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_sentences_are_known(page: Path) -> None:
    """`gateway COMMAND --option`: capitals stand for something."""
    assert {code: said for code in codes(page) if (said := wrong_use(code)) and not PLACEHOLDER.search(code)} == {}


def wrong_use(code: str) -> str:
    """What the command line says to a command; "" if it takes it, or it is none."""
    words = code.replace("'", "").split()
    if words[0] != "gateway" or len(words) < 2 or words[1].startswith("-") or not re.fullmatch(r"[\w '.:/=!-]+", code):
        return ""
    try:
        spoken_of.gateway(words[1:])
    except spoken_of.UsageError as error:
        return "" if str(error) == "" or "Missing" in str(error) else str(error)  # a command's name alone
    return ""


def codes(page: Path) -> list[str]:
    """What stands between backticks."""
    return [code for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text())) if code.strip()]


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}
    assert [name_of(page) for page in PAGES if page not in listed and page != index] == []
