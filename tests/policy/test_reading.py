"""Reading files: what plain scalars mean, and that nothing large, endless, deep or foreign gets in."""

import errno
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy import check
from gateway.policy.files import MAX_FILE_BYTES, passed_over
from gateway.policy.findings import Findings
from gateway.policy.nodes import MAX_DEPTH, MAX_VALUES, Plain, compose, resolve
from gateway.policy.shipped import shipped
from tests.fakes.examples import as_many
from tests.policy.whole import BASE, ROUTE, a_limit

Errors = Callable[..., list[str]]


def read(text: str) -> tuple[Plain, list[str]]:
    findings = Findings()
    node = compose(text, "f", findings)
    return (None if node is None else node.plain()), [str(error) for error in findings.errors]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("500", 500),
        ("-3", -3),
        ("1.5", 1.5),
        *(
            (text, text)
            for text in ["no", "yes", "on", "off", "True", "NO", "y", "Null", "1:30", "010", "0x1F", "0o17"]
        ),
        *(
            (text, text)
            for text in ["1_000", "+1", "1e3", ".5", "1.", ".inf", ".nan", "2026-11-21", "9" * 19, "=", "<<"]
        ),
    ],
)
def test_a_plain_scalar_means_what_it_looks_like(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quoted_scalars_are_text() -> None:
    assert read("{a: '1', b: \"true\", c: ''}")[0] == {"a": "1", "b": "true", "c": ""}
    assert read("a: |\n  5\n")[0] == {"a": "5\n"}


def test_aliases_stand_for_their_value_and_are_pointed_at_by_their_own_key() -> None:
    findings = Findings()
    node = compose("a: &x {n: 1}\nb: *x\n", "f", findings)
    assert node is not None
    assert node.plain() == {"a": {"n": 1}, "b": {"n": 1}}
    assert node.at("b").named == ("f", 2, 1)
    assert node.at("b", "n").where == ("f", 1, 11)


def billion_laughs() -> str:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines)


@pytest.fixture
def peak_bytes() -> Iterator[Callable[[], int]]:
    """The most memory that Python objects took since the test began."""
    check([])  # what it imports is not the test's
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_a_bomb_is_refused_before_it_is_expanded(peak_bytes: Callable[[], int]) -> None:
    assert read(billion_laughs()) == (
        None,
        [f"f:5:45: more than {MAX_VALUES:,} values, aliases expanded [too-many-values]"],
    )
    assert peak_bytes() < 1024 * 1024


def test_many_values_are_refused_where_they_become_too_many(peak_bytes: Callable[[], int]) -> None:
    assert read("- a\n" * (MAX_VALUES + 10)) == (
        None,
        [f"f:{MAX_VALUES}:3: more than {MAX_VALUES:,} values, aliases expanded [too-many-values]"],
    )
    assert peak_bytes() < 200 * 1024 * 1024


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_is_refused_at_its_bound(opening: str, peak_bytes: Callable[[], int]) -> None:
    value, errors = read(opening * 50_000)
    assert value is None
    assert len(errors) == 1
    assert errors[0].startswith("f:1:")
    assert peak_bytes() < 1024 * 1024


def test_aliases_do_not_hide_nesting() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))
    line = MAX_DEPTH - 1
    assert read(text) == (
        None,
        [f"f:{line}:{len(f'a{line - 1}: &a{line - 1} [') + 1}: aliases nest more than 32 levels deep [too-deep]"],
    )


@settings(max_examples=as_many(300))
@given(st.text("ab:-[]{}&*!|>'\"#%@, \n\t?<=.019~", max_size=60))
def test_no_text_at_all_is_a_crash(text: str) -> None:
    _, errors = read(text)
    assert all(error.startswith("f:") for error in errors)


@settings(max_examples=as_many(100))
@given(st.binary(max_size=80))
def test_no_bytes_at_all_are_a_crash(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    report = check([path])
    assert report.errors
    assert all(str(error).startswith(str(path)) for error in report.errors)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"keys:\n  na\xefve: 1\n", "p.yaml:2:5: not UTF-8 text: byte 0xef (save it as UTF-8) [not-utf8]"),
        ("keys: {}\n".encode("utf-16"), "p.yaml:1:1: not UTF-8 text: byte 0xff (save it as UTF-8) [not-utf8]"),
        (b"a: \xed\xa0\x80\n", "p.yaml:1:4: not UTF-8 text: byte 0xed (save it as UTF-8) [not-utf8]"),
        (b"#" * (10 * 1024 * 1024), "p.yaml: larger than 4 MiB [too-large]"),
    ],
)
def test_what_is_no_text_of_a_sensible_size(errors_of: Errors, content: bytes, error: str) -> None:
    assert errors_of(content) == [error]


def test_endless_input_ends(peak_bytes: Callable[[], int]) -> None:
    assert [str(error) for error in check([Path("/dev/zero")]).errors] == ["/dev/zero: larger than 4 MiB [too-large]"]
    assert peak_bytes() < 3 * MAX_FILE_BYTES


def test_a_byte_order_mark_is_no_character(report_of: Callable[..., object]) -> None:
    text = a_limit("algorithm: rolling_window, limit: 5, window: 1s, key: [tenant]")
    assert report_of(b"\xef\xbb\xbf" + text.encode()).errors == ()  # type: ignore[attr-defined]


def test_a_file_that_is_not_there_or_may_not_be_read(directory: Path) -> None:
    (directory / "dir.yaml").mkdir()
    assert [str(error) for error in check([Path("nowhere.yaml"), Path("dir.yaml")]).errors] == [
        "nowhere.yaml: cannot be read: No such file or directory [not-found]",
        "dir.yaml: the directory holds no *.yaml or *.yml file [no-files]",
    ]


def test_a_directory_above_that_of_the_policies_says_where_files_are(directory: Path) -> None:
    for name in ("mine/config", "mine/policies", "mine/.git", "mine/empty"):
        (directory / name).mkdir(parents=True)
    for name in ("mine/config/gateway.yaml", "mine/policies/p.yml", "mine/.git/x.yaml"):
        (directory / name).write_text("version: 1\n")
    assert [str(error) for error in check([Path("mine")]).errors] == [
        "mine: the directory holds no *.yaml or *.yml file (it is not looked for below: mine/config, mine/policies) [no-files]"
    ]


def test_settings_among_policies_are_one_mistake(directory: Path) -> None:
    (directory / "gateway.yaml").write_text("version: 1\nname: edge\nlisten: 0.0.0.0:80\nstore: {url: local}\n")
    assert [str(error) for error in check([Path("gateway.yaml")]).errors] == [
        "gateway.yaml:2:1: the file holds settings, not policies (keep it out of the directory of the policies) "
        "[settings-file]"
    ]


def test_a_section_of_settings_beside_one_of_policies_is_unknown(directory: Path) -> None:
    (directory / "p.yaml").write_text("version: 1\nstore: {url: local}\nkeys: {}\n")
    (error,) = check([Path("p.yaml")]).errors
    assert str(error).startswith("p.yaml:2:1: unknown section 'store'")


def test_a_file_that_cannot_be_opened(directory: Path) -> None:
    (directory / "p.yaml").symlink_to("p.yaml")
    assert [str(error) for error in check([Path("p.yaml")]).errors] == [
        "p.yaml: cannot be read: Too many levels of symbolic links [unreadable]"
    ]


def test_a_directory_is_its_yaml_files_in_order_and_nothing_else(directory: Path) -> None:
    inner = directory / "policies"
    (inner / "deeper").mkdir(parents=True)
    (inner / "b.yml").write_text(ROUTE.replace("[per-tenant]", "[]"))
    (inner / "a.yaml").write_text(BASE)
    for name in ["deeper/c.yaml", ".hidden.yaml", "notes.txt", "a.yaml~", "schema.json"]:
        (inner / name).write_text("not: [a policy")
    report = check([Path("policies")])
    assert report.errors == ()
    assert report.policies is not None
    assert report.policies.files == ("policies/a.yaml", "policies/b.yml")


def test_a_mounted_directory_of_links_is_read_once(directory: Path) -> None:
    """How Kubernetes mounts a ConfigMap."""
    (directory / "..2026").mkdir()
    (directory / "..2026" / "p.yaml").write_text(BASE + ROUTE.replace("[per-tenant]", "[]"))
    (directory / "..data").symlink_to("..2026")
    (directory / "p.yaml").symlink_to("..data/p.yaml")
    report = check([Path()])
    assert report.errors == ()
    assert report.policies is not None
    assert report.policies.files == ("p.yaml",)


def test_a_file_named_twice_is_read_once(directory: Path) -> None:
    (directory / "p.yaml").write_text(BASE + ROUTE.replace("[per-tenant]", "[]"))
    report = check([Path("p.yaml"), Path("p.yaml")])
    assert report.policies is not None
    assert report.policies.files == ("p.yaml",)


def test_pipes_in_a_directory_are_left_out_for_they_may_have_nothing_to_say(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "nowhere.yaml").symlink_to("missing.yaml")
    report = check([tmp_path])
    assert [(error.code, Path(error.file).name) for error in report.errors] == [("not-found", "nowhere.yaml")]


def test_what_lies_below_and_is_not_read_is_known(directory: Path) -> None:
    for name in ("mine/team", "mine/.git", "mine/fixtures", "mine/notes"):
        (directory / name).mkdir(parents=True)
    for name in ("mine/p.yaml", "mine/team/p.yaml", "mine/.git/x.yaml", "mine/fixtures/f.yaml", "mine/notes/a.md"):
        (directory / name).write_text("version: 1\n")
    (directory / "circle").symlink_to("circle")
    mine = Path("mine")
    assert passed_over([mine, mine / "p.yaml", Path("-"), Path("circle")], ["mine/fixtures/f.yaml"]) == [mine / "team"]
    assert passed_over([shipped("policies")], ()) == []


def test_what_is_given_beside_a_directory_is_read(directory: Path) -> None:
    for name in ("team", "other"):
        (directory / "all" / name).mkdir(parents=True)
        (directory / "all" / name / "p.yaml").write_text("version: 1\n")
    everything, team, other = Path("all"), Path("all/team"), Path("all/other")
    assert passed_over([everything], ()) == [other, team]
    assert passed_over([everything, directory / "all" / "team"], ()) == [other]
    assert passed_over([everything, team / "p.yaml"], ()) == [other]
    assert passed_over([everything, everything], ()) == [other, team]


def test_a_directory_with_two_names_is_one(directory: Path) -> None:
    for name in ("all/team", "elsewhere"):
        (directory / name).mkdir(parents=True)
        (directory / name / "p.yaml").write_text("version: 1\n")
    for name, target in (("a-team", "team"), ("zoo", "../elsewhere"), ("self", ".")):
        (directory / "all" / name).symlink_to(target)
    (directory / "all" / "p.yaml").write_text("version: 1\n")
    assert passed_over([Path("all")], ()) == [Path("all/team"), Path("all/zoo")]


def test_a_directory_that_cannot_be_seen_hides_no_other(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `lost+found` of a volume. Root may look into any, so its system call fails here."""
    for name in ("all/lost+found", "all/team"):
        (directory / name).mkdir(parents=True)
        (directory / name / "p.yaml").write_text("version: 1\n")
    look = Path.iterdir

    def denied(path: Path) -> Iterator[Path]:
        if path.name == "lost+found":
            raise PermissionError(errno.EACCES, "Permission denied")
        return look(path)

    monkeypatch.setattr(Path, "iterdir", denied)
    assert passed_over([Path("all")], ()) == [Path("all/team")]
