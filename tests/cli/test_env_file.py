"""`.env` files: what their lines may look like, and that everybody says where a value came from."""

from pathlib import Path

import pytest

from gateway.cli.files.env_file import BadEnvFile, environment
from gateway.policy.variables import place_of
from tests.cli.command import gateway


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"# names\n\nA=1\nB = two words \nexport C='3'\n", {"A": "1", "B": "two words", "C": "3"}),
        (b"A=1\r\nA=2\r\n", {"A": "2"}),
        (b"\xef\xbb\xbfA=1\n", {"A": "1"}),  # as Windows' editor saves it
        ("A=x\u2028B=y\x0cC=z\n".encode(), {"A": "x\u2028B=y\x0cC=z"}),  # a line ends where the shell thinks so
    ],
)
def test_lines_are_names_and_values(here: Path, text: bytes, found: dict[str, str]) -> None:
    (here / ".env").write_bytes(text)
    assert environment({}, None) == found


def test_the_process_wins_and_each_knows_its_place(here: Path) -> None:
    (here / ".env").write_text("A=file\n\nB=file\n")
    env = environment({"A": "process"}, None)
    assert env == {"A": "process", "B": "file"}
    assert place_of("A", env) == "environment variable A"
    assert place_of("B", env) == "environment variable B (.env:3)"


@pytest.mark.parametrize("text", ["A\n", "1A=2\n", "=2\n", "a b=1\n"])
def test_what_is_no_line_is_told(here: Path, text: str) -> None:
    (here / "gateway.env").write_text("B=1\n" + text)
    with pytest.raises(BadEnvFile, match=r"gateway\.env:2: expected NAME=value"):
        environment({}, Path("gateway.env"))


def test_a_directory_of_that_name_is_none_of_ours(here: Path) -> None:
    (here / ".env").mkdir()
    assert environment({}, None) == {}


def test_check_says_which_line_a_setting_is_from(here: Path) -> None:
    (here / ".env").write_text("# ours\nGATEWAY_NAME=gw-7\nGATEWAY_WORKERS=many\n")
    done = gateway("check")
    assert "environment variable GATEWAY_WORKERS (.env:3): expected a number of processes or auto" in done.stdout
    (here / ".env").write_text("GATEWAY_NAME=gw-7\n")
    assert "environment variable GATEWAY_NAME (.env:1)" in gateway("check", "--print").stdout
