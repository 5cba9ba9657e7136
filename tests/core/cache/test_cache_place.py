"""Where answers are kept for the whole fleet."""

from dataclasses import replace

from gateway.core.cache.key import Shelf
from gateway.core.cache.personal import Personal
from gateway.core.cache.place import Found, Place, room_of
from gateway.core.upstream import Timeouts, Upstream
from tests.core.cache.cache_cases import a_cache

SHELF = Shelf("acme", "http", "crm.example", "/users")


def test_places_are_apart_by_all_that_keeps_answers_apart() -> None:
    place = Place("crm", SHELF, b"v", (b"accept",))
    others = [
        place._replace(room="other"),
        place._replace(shelf=SHELF._replace(owner="globex")),
        place._replace(variant=b"w"),
        place._replace(vary=()),
    ]
    assert len({place, *others, Place("crm", SHELF, b"v", (b"accept",))}) == 1 + len(others)


def test_nothing_is_found_where_nothing_is_said() -> None:
    assert Found() == (None, None, "")


def test_the_room_is_the_same_for_equal_rules_in_every_process() -> None:
    assert room_of("crm", frozenset({"GET", "HEAD", "A", "B", "C", "D"}), ((1, "x"),)) == "crm@358fb9296badd53c"
    upstream = Upstream("up", "http", "h", 80, "h", source="p.yaml:1")
    room = room_of("crm", a_cache(), upstream)
    assert room == room_of("crm", a_cache(methods=frozenset({"HEAD", "GET"})), replace(upstream, source="p.yaml:2"))
    others = [
        room_of("erp", a_cache(), upstream),
        room_of("crm", a_cache(ttl_us=1), upstream),
        room_of("crm", a_cache(personal=Personal(exempt=frozenset({b"x-key"}))), upstream),
        room_of("crm", a_cache(), replace(upstream, host="other")),
        room_of("crm", a_cache(), replace(upstream, timeouts=Timeouts(1))),
    ]
    assert len({room, *others}) == 6
