"""Every block of every page is what it says it is, and does what it says it does.

A page is tested by being there. What another test proves already is named in CLAIMED; nothing else is left out.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.observe.metrics.instruments import INSTRUMENTS
from gateway.policy import check
from gateway.policy.settings_file import load_settings
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, indented, name_of
from tests.docs.shell import Shell
from tests.fakes.nursery import Nursery

KINDS = {
    "console": "commands and what they print",
    "sh": "commands",
    "yaml": "a policy, or a part of one that goes on from the last whole one (`version: 1`) above it",
    "yaml bad": "a policy with mistakes; the `text` behind it is what `gateway check` says",
    "yaml fixtures": "sample answers of a sandbox, which the page's policies name",
    "yaml settings": "settings, or a part of them",
    "yaml prometheus": "settings of Prometheus",
    "json": "what a program answers",
    "promql": "queries of our metrics",
    "text": "something else, which a test claims",
    "python": "a program, run by the commands behind it",
    "nginx": "settings of nginx, which a migration starts from",
    "yaml kong": "settings of Kong, which a migration starts from",
    "yaml traefik": "settings of Traefik, which a migration starts from",
    "yaml envoy": "settings of Envoy's ratelimit service, which a migration starts from",
}
RUN = ("console", "sh")

CLAIMED = {
    ("docs/cli.md", "console"): "tests/cli/test_docs_of_commands.py::test_every_example_works",
    ("docs/policies.md", "yaml bad"): "tests/policy/test_docs.py::test_the_bad_file_gives_what_is_shown",
    ("docs/policies.md", "text"): "tests/policy/test_docs.py::test_the_bad_file_gives_what_is_shown",
    ("docs/store.md", "text"): "tests/store/cluster/test_cluster_store.py::documented_rights",
    ("docs/admin-api.md", "console"): "tests/docs/test_admin_examples.py::test_commands",
    ("docs/webhooks.md", "json"): "tests/webhooks/test_outbox.py::test_the_page_shows_what_arrives",
    ("docs/admin-api.md", "json"): "tests/docs/test_admin_examples.py::test_answers",
}
STUBS = {
    "keys": {
        "tenant": {"from": "header", "name": "X-Tenant-Id", "on_missing": "reject"},
        "connection": {"from": "header", "name": "X-Connection-Id", "on_missing": "skip"},
    },
    "upstreams": {"crm": {"url": "https://crm.example"}, "erp": {"url": "https://erp.example"}},
}
"""What a part may speak of without a whole policy above it."""


def of(*kinds: str) -> list[object]:
    """The pages with blocks of these kinds that no other test claims."""
    return [
        pytest.param(page, id=name_of(page))
        for page in PAGES
        if any(block.kind in kinds and (name_of(page), block.kind) not in CLAIMED for block in blocks(page))
    ]


def own(page: Path, *kinds: str) -> list[Block]:
    return [block for block in blocks(page) if block.kind in kinds and (name_of(page), block.kind) not in CLAIMED]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    assert [block for block in blocks(page) if block.kind not in KINDS] == []
    assert indented(page) == []
    assert page.read_text().count("\n```") % 2 == 0


def test_what_is_claimed_is_there_and_tested() -> None:
    kinds = {(name_of(page), block.kind) for page in PAGES for block in blocks(page)}
    assert CLAIMED.keys() - kinds == set()
    for test in CLAIMED.values():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), test
    assert [page for page, kind in kinds if kind == "text" and (page, kind) not in CLAIMED] == []


@pytest.mark.parametrize("page", of("yaml"))
def test_policies(page: Path, tmp_path: Path) -> None:
    """Whole ones by themselves, and with the parts that go on from them as one set."""
    sets: list[list[Path]] = []
    for block in own(page, "yaml fixtures"):
        (tmp_path / block.file).parent.mkdir(parents=True)
        (tmp_path / block.file).write_text(block.text)
    for number, block in enumerate(own(page, "yaml")):
        text = re.sub(r"file:/[\w/.-]+", f"file:{tmp_path}/secret", block.text)
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        if re.search(r"^version: 1$", text, re.MULTILINE):
            assert findings([path]) == [], f"{name_of(page)}:{block.line}"
            sets.append([path])
        else:
            sets = sets or [[]]
            sets[-1].append(path)
    for one in sets:
        assert findings([*one, stub(one, tmp_path)]) == []


def findings(files: list[Path]) -> list[str]:
    """What `gateway check` finds, but for names that nobody uses."""
    (files[0].parent / "secret").write_text("a secret of more than 32 characters")
    text = "".join(file.read_text() for file in files)
    env = dict.fromkeys(re.findall(r"env:([A-Z0-9_]+)", text), "a secret of more than 32 characters")
    env["GATEWAY_TOKEN_KEYS"] = "A" * 43 + "="
    report = check(files, env=env)
    return [str(one) for one in (*report.errors, *report.warnings) if one.code not in ("unused", "no-routes")]


def stub(files: list[Path], place: Path) -> Path:
    """What parts speak of and do not define."""
    defined: dict[str, set[str]] = {}
    for file in files:
        for section, entries in yaml.safe_load(file.read_text()).items():
            defined.setdefault(section, set()).update(entries if isinstance(entries, dict) else [])
    rest = {
        section: {name: entry for name, entry in entries.items() if name not in defined.get(section, ())}
        for section, entries in STUBS.items()
    }
    path = place / "stub.yaml"
    path.write_text(yaml.safe_dump(rest))
    return path


@pytest.mark.parametrize("page", of("yaml settings"))
def test_settings(page: Path, tmp_path: Path) -> None:
    for block in own(page, "yaml settings"):
        path = tmp_path / "gateway.yaml"
        (tmp_path / "secret").write_text("x" * 32)
        text = re.sub(r"file:/[\w/.-]+", f"file:{tmp_path}/secret", block.text)
        path.write_text(text if "version:" in text else "version: 1\n" + text)
        load_settings(path, {name: secret(name) for name in re.findall(r"env:([A-Z0-9_]+)", text)}, {})


def secret(name: str) -> str:
    """Of the kind that its name says."""
    return "redis://h" if "URL" in name else "ann:password" if "USER" in name else "x" * 32


@pytest.mark.parametrize("page", of("yaml prometheus", "yaml kong", "yaml traefik"))
def test_settings_of_others_are_yaml(page: Path) -> None:
    for block in own(page, "yaml prometheus", "yaml kong", "yaml traefik"):
        assert yaml.safe_load(block.text)


@pytest.mark.parametrize("page", of("json"))
def test_json(page: Path) -> None:
    for block in own(page, "json"):
        assert json.loads(block.text if block.text.startswith("{") else "{" + block.text + "}")


@pytest.mark.parametrize("page", of("promql"))
def test_queries(page: Path) -> None:
    for block in own(page, "promql"):
        named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"gateway_[a-z_]+", block.text)}
        assert named <= INSTRUMENTS.keys()


@pytest.fixture
def shell(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: Nursery) -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp") as runtime:
        shell = Shell(tmp_path, Path(runtime), None if name_of(page) == "README.md" else nursery)
        monkeypatch.chdir(tmp_path)
        for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
            monkeypatch.delenv(name)
        try:
            yield shell
        finally:
            shell.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", of(*RUN))
def test_commands(page: Path, shell: Shell) -> None:
    """From top to bottom: files are written, commands typed. Where none is started, a gateway is running."""
    everything = own(page, *RUN, "python", "yaml", "yaml fixtures", "yaml settings")
    for block in everything:
        if block.file:
            shell.write(block.file, block.text)
        if block.kind in RUN:
            for command in commands(block):
                shell.type(command)
