"""Fetching an issuer's keys from a real server: once at a time, again and again, and never trusting a bad answer."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from gateway.core.access.authentication import Jwt
from gateway.identity import jwks
from gateway.identity.jwks import RENEW_INTERVAL_S, RemoteKeys
from gateway.identity.keys import PublicKey
from tests.fakes.issuer import AUDIENCE, ISSUER, Issuer, jwk
from tests.fakes.waiting import eventually

NOT_SOON_US = 3_600_000_000


@dataclass
class Fetching:
    """What came of fetching."""

    remote: RemoteKeys
    kids: list[list[str | None]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    now: float = 1000.0


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer([jwk("k1")]) as server:
        yield server


@asynccontextmanager
async def fetching(
    url: str, refresh_us: int = NOT_SOON_US, kept_in: Path | None = None, ca_file: str = ""
) -> AsyncIterator[Fetching]:
    scheme = Jwt(
        "staff", "authorization", ISSUER, (AUDIENCE,), ("RS256",), jwks=url, refresh_us=refresh_us, ca_file=ca_file
    )

    def on_keys(keys: tuple[PublicKey, ...]) -> None:
        one.kids.append([key.kid for key in keys])

    remote = RemoteKeys(scheme, on_keys, lambda reason: one.failures.append(reason), lambda: one.now, kept_in)
    one = Fetching(remote)
    await remote.start()
    try:
        yield one
    finally:
        await remote.close()


async def test_keys_are_there_when_the_start_is_over(issuer: Issuer) -> None:
    async with fetching(issuer.url) as one:
        assert (one.kids, one.failures, issuer.fetches) == ([["k1"]], [], 1)


def redirecting(url: str) -> web.Response:
    return web.Response(status=302, headers={"Location": url})


BAD: dict[str, tuple[Callable[[str], web.Response], str]] = {
    "an error": (lambda _: web.Response(status=503, text="secret"), "answered with status 503"),
    "a redirect": (redirecting, "answered with status 302"),
    "no JSON": (lambda _: web.Response(text="<html>secret"), "not JSON"),
    "no keys": (lambda _: web.Response(text='{"keys": []}'), "no usable public key"),
    "too much": (lambda _: web.Response(body=b" " * 300_000), "answer larger than 256 KiB"),
    "compressed": (
        lambda _: web.Response(body=gzip.compress(json.dumps({"keys": [jwk("k1")]}).encode())),
        "not JSON",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_answer_changes_nothing(issuer: Issuer, name: str) -> None:
    make, reason = BAD[name]
    issuer.answer = make(issuer.url)
    async with fetching(issuer.url) as one:
        assert (one.kids, one.failures, issuer.fetches) == ([], [reason], 1)


async def test_an_issuer_that_is_not_there_is_a_failure_with_its_reason() -> None:
    async with Issuer() as gone:
        url = gone.url
    async with fetching(url) as one:
        assert one.failures == ["no connection"]


async def test_what_another_fetched_is_there_while_the_issuer_is_away(issuer: Issuer, tmp_path: Path) -> None:
    async with fetching(issuer.url, kept_in=tmp_path):
        pass
    issuer.answer = web.Response(status=503)
    async with fetching(issuer.url, kept_in=tmp_path) as one:
        assert (one.kids, one.failures) == ([["k1"]], ["answered with status 503"])
    async with fetching(f"{issuer.url}?other", kept_in=tmp_path) as one:
        assert one.kids == []
    trusted = tmp_path.with_name("ca.pem")
    trustme.CA().cert_pem.write_to_path(trusted)
    async with fetching(issuer.url, kept_in=tmp_path, ca_file=str(trusted)) as one:
        assert one.kids == [], "somebody else vouched for those"
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"half")
    async with fetching(issuer.url, kept_in=tmp_path) as one:
        assert one.kids == []


async def test_what_is_kept_for_others_is_kept_again_when_somebody_removes_it(issuer: Issuer, tmp_path: Path) -> None:
    async with fetching(issuer.url, kept_in=tmp_path) as first:
        (kept,) = tmp_path.iterdir()
        issuer.answer = web.Response(status=503)
        async with fetching(issuer.url, kept_in=tmp_path) as second:
            for one in (first, second):
                kept.unlink()
                one.remote.put_back()
                async with fetching(issuer.url, kept_in=tmp_path) as third:
                    assert third.kids == [["k1"]]


async def test_keys_are_fetched_while_nothing_can_be_left_for_others(issuer: Issuer, tmp_path: Path) -> None:
    async with fetching(issuer.url, kept_in=tmp_path / "gone") as one:
        assert (one.kids, one.failures) == ([["k1"]], [])


async def test_no_answer_in_time(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "FETCH_S", 0.05)
    issuer.held = asyncio.Event()
    async with fetching(issuer.url) as one:
        assert one.failures == ["no answer within 0.05 s"]


async def test_keys_are_fetched_again_and_again(issuer: Issuer) -> None:
    async with fetching(issuer.url, refresh_us=20_000) as one:
        await issuer.fetched(2)
        issuer.keys = [jwk("k2")]
        await issuer.fetched(issuer.fetches + 2)
        assert one.kids[0] == ["k1"]
        assert one.kids[-1] == ["k2"]


async def test_a_failed_fetch_is_tried_again_soon(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "FIRST_RETRY_S", 0.01)
    issuer.answer = web.Response(status=500)
    async with fetching(issuer.url) as one:
        await issuer.fetched(3)
        issuer.answer = None
        await issuer.fetched(issuer.fetches + 1)
        await eventually(lambda: one.kids)
        assert one.kids == [["k1"]]
        assert len(one.failures) >= 2


async def test_many_wait_for_one_fetch(issuer: Issuer) -> None:
    async with fetching(issuer.url) as one:
        issuer.keys, issuer.held = [jwk("k2")], asyncio.Event()
        waiting = [asyncio.create_task(one.remote.renew()) for _ in range(50)]
        await issuer.fetched(2)
        issuer.held.set()
        assert await asyncio.gather(*waiting) == [True] * 50
        assert (one.kids[-1], issuer.fetches) == (["k2"], 2)


async def test_unknown_keys_cause_one_fetch_an_interval(issuer: Issuer) -> None:
    async with fetching(issuer.url) as one:
        assert await one.remote.renew()
        for _ in range(10):
            assert not await one.remote.renew()
        one.now += RENEW_INTERVAL_S - 0.001
        assert not await one.remote.renew()
        one.now += 0.001
        assert await one.remote.renew()
        assert issuer.fetches == 3


async def test_a_renewal_that_fails_says_so(issuer: Issuer) -> None:
    async with fetching(issuer.url) as one:
        issuer.answer = web.Response(status=500)
        assert not await one.remote.renew()
        assert one.kids == [["k1"]]


async def test_who_stops_waiting_does_not_stop_the_fetch(issuer: Issuer) -> None:
    async with fetching(issuer.url) as one:
        issuer.held = asyncio.Event()
        impatient = asyncio.create_task(one.remote.renew())
        patient = asyncio.create_task(one.remote.renew())
        await issuer.fetched(2)
        impatient.cancel()
        issuer.held.set()
        assert await patient
        assert impatient.cancelled() or await asyncio.wait({impatient})
        assert one.kids == [["k1"], ["k1"]]


async def test_who_waits_when_all_ends_is_told(issuer: Issuer) -> None:
    async with fetching(issuer.url) as one:
        issuer.held = asyncio.Event()
        waiting = asyncio.create_task(one.remote.renew())
        await issuer.fetched(2)
    assert not await waiting
