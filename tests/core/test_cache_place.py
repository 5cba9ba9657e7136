"""Where answers are kept for the whole fleet."""

from gateway.core.cache.key import Shelf
from gateway.core.cache.place import Found, Place

SHELF = Shelf("acme", "http", "crm.example", "/users")


def test_places_are_apart_by_all_that_keeps_answers_apart() -> None:
    place = Place("crm", SHELF, b"v", (b"accept",))
    others = [
        place._replace(route="other"),
        place._replace(shelf=SHELF._replace(owner="globex")),
        place._replace(variant=b"w"),
        place._replace(vary=()),
    ]
    assert len({place, *others, Place("crm", SHELF, b"v", (b"accept",))}) == 1 + len(others)


def test_nothing_is_found_where_nothing_is_said() -> None:
    assert Found() == (None, None, "")
