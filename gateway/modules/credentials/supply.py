"""The credentials of one policy set that expire, as calls see them: whether there is a token, and its header line.

With no such credential there is nothing here, and calls do not ask.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gateway.core.access.credentials import Credential
from gateway.core.policy import PolicySet
from gateway.modules.credentials.endpoint import Endpoint
from gateway.modules.credentials.renewal import Renewal, Surroundings
from gateway.modules.credentials.vault import Vault, place_of
from gateway.store.shared.shelf import Shelf

MOST_SHOWN = 20
MOST_LATE = 64
"""Credentials of earlier sets that calls under way may still be shown."""


class Supply:
    """Made for a policy set by `load`; a reload makes a `successor`, which goes on with what has not changed.

    owner  names this worker among all of all gateways
    """

    def __init__(self, shelf: Shelf, owner: str, around: Surroundings, endpoint: Endpoint | None = None) -> None:
        self._shelf = shelf
        self._owner = owner
        self.around = around
        self._endpoint = endpoint or Endpoint()
        self._renewals: dict[str, Renewal] = {}
        self._late: dict[Credential, Renewal] = {}

    def load(self, policies: PolicySet) -> None:
        """Make renewals for the set's credentials; nobody is asked for a token yet. Raises OSError for a `ca_file`
        that cannot be used."""
        for name, credential in _renewed(policies):
            self._endpoint.trust(credential.oauth.ca_file if credential.oauth is not None else "")
            if name not in self._renewals:
                self._renewals[name] = self._renewal(credential)

    def successor(self, policies: PolicySet) -> "Supply":
        """One for another set. What is as it was goes on with the token it has; what has changed gets another, with
        the refresh token that has come of the one that is configured, if that is the same. Raises OSError."""
        after = Supply(self._shelf, self._owner, self.around, self._endpoint)
        for name, credential in _renewed(policies):
            known = self._renewals.get(name)
            if known is not None and known.credential == credential:
                after._renewals[name] = known
                known.credential = credential  # the same, so that calls need not compare
        after.load(policies)
        latest = {_place(one): one.refresh for one in self._renewals.values()}
        for name, renewal in after._renewals.items():
            if renewal is not self._renewals.get(name):
                renewal.refresh = latest.get(_place(renewal), renewal.refresh)
        gone = [one for name, one in self._renewals.items() if after._renewals.get(name) is not one]
        late = {**self._late, **{one.credential: one for one in gone}}
        after._late = dict([*late.items()][-MOST_LATE:])
        return after

    def of(self, credential: Credential) -> Renewal | None:
        """None: it left the policies too long ago."""
        known = self._renewals.get(credential.name)
        if known is not None and (known.credential is credential or known.credential == credential):
            return known
        return self._late.get(credential)

    def line(self, credential: Credential) -> bytes:
        """The field that the upstream is shown; b"" = there is none."""
        renewal = self.of(credential)
        return renewal.line if renewal is not None else b""

    def summary(self) -> dict[str, Any]:
        """For people: how many there are, how many have a token, and those that could not get one."""
        failing = [one for one in self._renewals.values() if one.failure is not None]
        return {
            "count": len(self._renewals),
            "with_token": sum(one.serving for one in self._renewals.values()),
            "renewals": sum(one.renewals for one in self._renewals.values()),
            "failing": [{"credentials": one.credential.name, **one.status()} for one in failing[:MOST_SHOWN]],
        }

    def read_certificates(self) -> Sequence[Callable[[], None]]:
        """As `Trusting` has it: each `ca_file` of a token server."""
        named = {one.credential.oauth.ca_file for one in self._renewals.values() if one.credential.oauth is not None}
        return self._endpoint.read_certificates(sorted(named - {""}))

    async def close(self, shared_with: "Supply | None" = None) -> None:
        """End what is under way, but for what another one goes on with; calls that began with this one then get the
        tokens that they wait for."""
        others, awaited = [*shared_with._renewals.values()] if shared_with is not None else [], shared_with is not None
        mine = (*self._renewals.values(), *self._late.values())
        await asyncio.gather(*[renewal.close(awaited=awaited) for renewal in mine if renewal not in others])
        if shared_with is None:
            await self._endpoint.close()

    def _renewal(self, credential: Credential) -> Renewal:
        assert credential.oauth is not None, "only such are renewed"
        vault = Vault(credential.name, credential.oauth, self._shelf, self._owner)
        return Renewal(credential, self._endpoint, vault, self.around)


def _renewed(policies: PolicySet) -> Iterator[tuple[str, Credential]]:
    return ((name, one) for name, one in policies.credentials.items() if one.oauth is not None)


def _place(renewal: Renewal) -> str:
    credential = renewal.credential
    assert credential.oauth is not None, "only such are renewed"
    return place_of(credential.name, credential.oauth)
