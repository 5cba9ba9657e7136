"""Certificate files are looked at before there are workers, none of which could begin without them, and kept for
workers that follow others: by then a file may be half written, or gone."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Any

from gateway.certificate_files import is_kept, keep, keep_no_others
from gateway.core.access.authentication import Jwt
from gateway.core.policy import PolicySet
from gateway.settings import Settings
from gateway.supervisor.failure import StartFailed

_Reading = tuple[Callable[[Any], Any], Hashable]


def check_certificates(settings: Settings, policies: PolicySet) -> None:
    """The listeners', and those that are named for sockets to others. Raises StartFailed that names the files."""
    for listener, reading in _of_listeners(settings):
        try:
            keep(*reading)
        except OSError as error:
            raise StartFailed(f"listener {listener}: {error.strerror or error}") from error
    for reading in _of_others(settings, policies):
        try:
            keep(*reading)
        except OSError as error:
            raise StartFailed(error.strerror or str(error)) from error


def read_again(settings: Settings, policies: PolicySet) -> None:
    """What the files say now, as far as they can be used: workers have been told of a change."""
    readings = _readings(settings, policies)
    keep_no_others(readings)
    _try(readings)


def read_new(settings: Settings, policies: PolicySet, *, alone: bool = False) -> None:
    """Those files that were not read yet: what names them is new. `alone`: nobody begins with anything else."""
    readings = _readings(settings, policies)
    if alone:
        keep_no_others(readings)
    _try([reading for reading in readings if not is_kept(*reading)])


def _readings(settings: Settings, policies: PolicySet) -> list[_Reading]:
    return [*(reading for _, reading in _of_listeners(settings)), *_of_others(settings, policies)]


def _try(readings: list[_Reading]) -> None:
    for reading in readings:
        with suppress(OSError):  # workers tell of it
            keep(*reading)


def _of_listeners(settings: Settings) -> Iterator[tuple[str, _Reading]]:
    from gateway.listener.tls import server_tls

    for listen in (settings.listen, settings.admin):
        if listen is not None and listen.tls is not None:
            yield str(listen), (server_tls, listen.tls)


def _of_others(settings: Settings, policies: PolicySet) -> Iterator[_Reading]:
    """What needs only the system's authorities is not looked at: reading these takes a while."""
    from gateway.certificate_files import trusting
    from gateway.upstream.connect import tls_context

    for upstream in policies.upstreams.values():
        if upstream.tls_ca_file or upstream.tls_certificate:
            yield tls_context, upstream
    for ca_file in dict.fromkeys(filter(None, _authorities(settings, policies))):
        yield trusting, ca_file


def _authorities(settings: Settings, policies: PolicySet) -> Iterator[str]:
    """Of the servers that keys and tokens come from, and of receivers."""
    for scheme in policies.authentication.values():
        if isinstance(scheme, Jwt) and scheme.jwks:
            yield scheme.ca_file
    for credential in policies.credentials.values():
        if credential.oauth is not None:
            yield credential.oauth.ca_file
    for target in settings.webhooks.targets:
        yield target.receiver.ca_file
