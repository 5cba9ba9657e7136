"""Dot segments stay inside their route."""

import pytest

from gateway.core.targets import canonical, climbs, has_dot_dot


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


@pytest.mark.parametrize(
    ("path", "read_as"),
    [
        ("/erp/x", "/erp/x"),
        ("/", "/"),
        ("//erp//x/", "/erp/x/"),
        ("/./erp/x", "/erp/x"),
        ("/x/../erp/x", "/erp/x"),
        ("/../erp", "/erp"),
        ("/%65rp/x", "/erp/x"),
        ("/x%2f..%2ferp", "/erp"),
        ("/x\\..\\erp;a=b/y", "/erp/y"),
    ],
)
def test_how_a_forgiving_server_reads_it(path: str, read_as: str) -> None:
    assert canonical(path) == read_as
