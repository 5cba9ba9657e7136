"""Certificate files are looked at once before there are workers, none of which could begin without them."""

from collections.abc import Iterator

from gateway.core.access.authentication import Jwt
from gateway.core.policy import PolicySet
from gateway.settings import Settings
from gateway.supervisor.failure import StartFailed


def check_certificates(settings: Settings, policies: PolicySet) -> None:
    """The listeners', and those that policies name for sockets to others. Raises StartFailed that names the files."""
    _check_listeners(settings)
    try:
        _check_trusted(policies)
    except OSError as error:
        raise StartFailed(error.strerror or str(error)) from error


def _check_listeners(settings: Settings) -> None:
    from gateway.listener.tls import server_tls

    for listen in (settings.listen, settings.admin):
        if listen is not None and listen.tls is not None:
            try:
                server_tls(listen.tls)
            except OSError as error:
                raise StartFailed(f"listener {listen}: {error.strerror or error}") from error


def _check_trusted(policies: PolicySet) -> None:
    """Raises OSError. What needs only the system's authorities is not looked at: reading these takes a while."""
    from gateway.certificate_files import trusting
    from gateway.upstream.connect import tls_context

    for upstream in policies.upstreams.values():
        if upstream.tls_ca_file or upstream.tls_certificate:
            tls_context(upstream)
    for ca_file in filter(None, _authorities(policies)):
        trusting(ca_file)


def _authorities(policies: PolicySet) -> Iterator[str]:
    """Of the servers that keys and tokens come from."""
    for scheme in policies.authentication.values():
        if isinstance(scheme, Jwt) and scheme.jwks:
            yield scheme.ca_file
    for credential in policies.credentials.values():
        if credential.oauth is not None:
            yield credential.oauth.ca_file
