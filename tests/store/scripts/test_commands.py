"""What servers are asked for is known to Redis 6.2, and allowed to the user that the page about the store describes."""

import re
from pathlib import Path

import gateway.store
from gateway.store.scripts.answers import ANSWERS
from gateway.store.scripts.sources import SCRIPTS
from gateway.store.scripts.statuses import STATUS

SINCE = {
    "ASKING": "3.0.0",
    "CLUSTER SLOTS": "3.0.0",
    "DECRBY": "1.0.0",
    "DEL": "1.0.0",
    "EVAL": "2.6.0",
    "EVALSHA": "2.6.0",
    "GET": "1.0.0",
    "GETRANGE": "2.4.0",
    "HDEL": "2.0.0",
    "HGET": "2.0.0",
    "HKEYS": "2.0.0",
    "HLEN": "2.0.0",
    "HSET": "2.0.0",
    "INCRBY": "1.0.0",
    "INFO": "1.0.0",
    "MGET": "1.0.0",
    "PEXPIRE": "2.6.0",
    "PING": "1.0.0",
    "PTTL": "2.6.0",
    "RENAME": "1.0.0",
    "SCRIPT LOAD": "2.6.0",
    "SELECT": "1.0.0",
    "SET": "1.0.0",
    "SETRANGE": "2.2.0",
    "TIME": "2.6.0",
    "ZADD": "1.2.0",
    "ZCARD": "1.2.0",
    "ZCOUNT": "2.0.0",
    "ZRANGE": "1.2.0",
    "ZRANGEBYLEX": "2.8.9",
    "ZRANGEBYSCORE": "1.0.5",
    "ZRANK": "2.0.0",
    "ZREM": "1.2.0",
    "ZREMRANGEBYSCORE": "1.2.0",
    "ZSCORE": "1.2.0",
}
"""By the server's own `COMMAND DOCS`."""
OPTIONS_SINCE = {
    "SET PX": "2.6.12",
    "SET NX": "2.6.12",
    "SET KEEPTTL": "6.0.0",
    "ZADD NX": "3.0.2",
    "ZRANGE WITHSCORES": "1.2.0",
    "ZRANGEBYSCORE LIMIT": "2.0.0",
    "ZRANGEBYLEX LIMIT": "2.8.9",
}
LIBRARIES = {
    "redis.call",
    "redis.pcall",
    "struct.pack",
    "struct.unpack",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "cjson.decode",
}
OLDEST = (6, 2)

FOLDER = Path(gateway.store.__file__).parent
LUA = "\n".join(script.source for script in (*SCRIPTS, STATUS, ANSWERS))
CODE = re.sub(r"--.*", "", LUA)
TO_OTHERS = {"sentinels.py"}
"""What is sent to Sentinels has a test of its own, with a user who has just these rights."""
PYTHON = "\n".join(path.read_text("utf-8") for path in sorted(FOLDER.rglob("*.py")) if path.name not in TO_OTHERS)
HANDSHAKE = {"SELECT"}
"""What redis-py sends besides AUTH and HELLO, which everybody may."""


def asked_by_scripts() -> set[str]:
    return set(re.findall(r"redis\.p?call\('([A-Z]+)'", CODE))


def asked_by_python() -> set[str]:
    words = re.findall(r'pack\(\(_?"?([A-Z]+)"?, ?(?:"(LOAD)")?', PYTHON)
    words += re.findall(r'ask_once\(\w+, "([A-Z]+)"(?:, "([A-Z]+)")?', PYTHON)
    named = {" ".join(filter(None, pair)) for pair in words}
    return named | set(re.findall(r'_ask_about\([^"]+"([A-Z]+)"', PYTHON)) | {"EVAL"}


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))[:2]


def test_every_command_is_known_to_the_oldest_server() -> None:
    assert asked_by_scripts() | asked_by_python() | HANDSHAKE == SINCE.keys()
    assert all(version(since) <= OLDEST for since in (*SINCE.values(), *OPTIONS_SINCE.values()))


def test_every_option_is_known_to_the_oldest_server() -> None:
    calls = re.findall(r"redis\.p?call\('([A-Z]+)'([^\n]*)", CODE)
    used = {
        f"{name} {word}" for name, rest in calls for word in re.findall(r"'([A-Z]{2,})'", rest) if word not in SINCE
    }
    assert used == OPTIONS_SINCE.keys()


def test_scripts_use_no_newer_library() -> None:
    assert set(re.findall(r"\b(?:redis|server|struct|cmsgpack|cjson|bit|os)\.\w+", CODE)) == LIBRARIES
    assert not any(script.source.startswith("#!") for script in (*SCRIPTS, STATUS, ANSWERS))


def test_the_page_allows_what_is_used_and_nothing_else() -> None:
    page = (FOLDER.parents[1] / "docs" / "store.md").read_text("utf-8")
    text = page[page.index("ACL SETUSER") : page.index("With [webhooks](webhooks.md) or an [intake]")]
    allowed = {name.upper().replace("|", " ") for name in re.findall(r"\+([a-z|]+)", text)}
    assert allowed == SINCE.keys()
