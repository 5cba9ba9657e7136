"""Dot segments stay inside their route."""

import pytest

from gateway.core.targets import climbs, has_dot_dot


@pytest.mark.parametrize(
    "path",
    [
        "/..",
        "/../x",
        "/a/../..",
        "/%2e%2e/x",
        "/%2E./x",
        "/a/..%2f..%2fx",
        "/..%5cx",
        "/..\\x",
        "/./../x",
        "//../x",
        "/..;a=b/x",
        "..",
    ],
)
def test_out(path: str) -> None:
    assert climbs(path)


@pytest.mark.parametrize(
    "path", ["", "/", "/a/../b", "/a/b/../..", "/a..b", "/...", "/a/%2e/b", "/%20", "/x?..", "/%2f"]
)
def test_inside(path: str) -> None:
    assert not climbs(path)


def test_any_dot_dot() -> None:
    assert has_dot_dot("/a/%2e%2e")
    assert has_dot_dot("/a/..;x/b")
    assert not has_dot_dot("/a..b/%20")
