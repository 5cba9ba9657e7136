"""Dot segments stay inside their route."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http.targets import climbs, decoded, has_dot_dot, readings


@given(
    st.lists(st.sampled_from(["%", "4", "1", "%41", "%c3", "%A9", "%ff", "/", "\xe9", "g"]), max_size=20).map("".join)
)
def test_decoded_as_the_standard_library_does_it(text: str) -> None:
    assert decoded(text) == unquote(text, errors="surrogateescape")


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
        ("/erp/x", set()),
        ("/", set()),
        ("//erp//x/", {"/erp/x/"}),
        ("/./erp/x", {"/erp/x"}),
        ("/x/../erp/x", {"/erp/x"}),
        ("/../erp", {"/erp"}),
        ("/x/..", {"/"}),
        ("/..", {"/"}),
        ("/x/.", {"/x/"}),
        ("/%65rp/x", {"/erp/x"}),
        ("/%2565rp", {"/%65rp", "/erp"}),
        ("/%E9", {"/\udce9"}),
        ("/x%2f..%2ferp", {"/x/../erp", "/erp"}),
        ("/x;a", {"/x"}),
        ("/x;a/..;/y", {"/x/../y", "/y"}),
        ("/x\\y", {"/x/y"}),
    ],
)
def test_how_servers_read_it(path: str, read_as: set[str]) -> None:
    found = list(readings(path))
    assert set(found) == read_as
    assert len(found) == len(read_as)


def test_every_way_at_once() -> None:
    assert "/erp/y" in set(readings("/x\\..%5c.//%2565rp;a=b/y"))
