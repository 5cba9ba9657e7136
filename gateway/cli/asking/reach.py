"""How a command reaches the admin listener: where it is, whom it believes, and as whom it asks."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.command.failing import FAILED, fail

if TYPE_CHECKING:
    import ssl
    from http.client import HTTPConnection

    from gateway.settings import Listen, Settings

_SCHEMES = ("http", "https")
_UNKNOWN = (2, 18, 19, 20, 21)
"""Of OpenSSL, what X509_V_ERR_... there are for a certificate whose issuer nobody knows. It is another one than that of
the settings, while the others (expired, of another purpose) are said of the right one, too."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL says of an answer that is no TLS: the second from 3.2 on."""


@dataclass(frozen=True)
class Reach:
    """Options about it, as given. Whatever is wrong with them, or with the settings, ends the command when it is used.

    admin     HOST:PORT, as a URL if you like (https:// means TLS); "" = the listener of the settings, or that of the
              variable GATEWAY_ADMIN, which may be such a URL, too
    ca        certificates of authorities; with it the listener speaks TLS and its name is checked
    insecure  TLS without looking at the certificate
    own       what is asked is on this host and its own: its certificate is not looked at unless `ca` is given
    """

    config: Path | None = None
    env_file: Path | None = None
    admin: str = ""
    ca: Path | None = None
    insecure: bool = False
    own: bool = False

    @property
    def chosen(self) -> bool:
        """Whether options say where it is, or whom to believe."""
        return bool(self.admin or self.ca or self.insecure)

    @cached_property
    def named(self) -> str:
        """Where somebody has named one to ask, which need not be this host's own; "" = nobody has."""
        from gateway.cli.files.loading import read_environment

        said = "" if self.admin else read_environment(self.env_file).get("GATEWAY_ADMIN", "")
        return said if _scheme(said) else self.admin

    @cached_property
    def _settings(self) -> "Settings":
        from gateway.cli.files.loading import read_settings

        address = (self.named.partition("://")[2] if _scheme(self.named) else self.named).removesuffix("/")
        return read_settings(self.config, self.env_file, {"admin": address} if address else {})

    @property
    def listen(self) -> "Listen":
        """The admin listener to ask. Without one in the settings the command ends."""
        found = self._settings.admin
        if found is None:
            fail(FAILED, "there is no admin listener: the settings say `admin: off`")
        return found

    @property
    def fields(self) -> dict[str, str]:
        """What every request carries."""
        token = self._settings.admin_token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def connection(self, timeout_s: float) -> "HTTPConnection":
        """A connection that is not open yet."""
        from http.client import HTTPConnection, HTTPSConnection

        listen, context = self.listen, self._context()
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104 - asked, not bound
        if context is None:
            return HTTPConnection(host, listen.port, timeout=timeout_s)
        return HTTPSConnection(host, listen.port, timeout=timeout_s, context=context)

    def _context(self) -> "ssl.SSLContext | None":
        import ssl

        files = self.listen.tls
        if not (files or self.insecure or self.ca or _scheme(self.named) == "https"):
            return None
        if self.ca is None and (self.insecure or self.own):
            return ssl._create_unverified_context()  # noqa: S323 - asked for; or this host's own
        try:
            if self.ca is None and files:
                return _only(Path(files.certificate))
            return ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError, UnicodeDecodeError) as error:
            what = self.ca or (files.certificate if files else "the system's authorities")
            fail(FAILED, f"{what}: cannot be used to verify the admin listener: {error}")

    def why(self, error: Exception) -> str:
        """Why there was no answer, for people."""
        import ssl
        from http.client import RemoteDisconnected

        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {self._distrust(error)}; see --ca and --insecure"
        if isinstance(error, ssl.SSLError) and _says_no_tls(error):
            return "it does not speak TLS, which it was asked with"
        if isinstance(error, TimeoutError):
            return "timed out"
        if isinstance(error, RemoteDisconnected | ConnectionResetError) and self._context() is None:
            return "it closed the connection; if it speaks TLS, ask it with --admin https://HOST:PORT"
        return getattr(error, "strerror", None) or str(error) or type(error).__name__

    def _distrust(self, error: "ssl.SSLCertVerificationError") -> str:
        """What is wrong with the certificate that it shows."""
        files = self.listen.tls
        if files and not self.ca and error.verify_code in _UNKNOWN:
            return f"it is not the one in {files.certificate} (renewed? SIGHUP makes the gateway read it)"
        return error.verify_message


def _scheme(address: str) -> str:
    """`http` or `https` of such a URL, "" of anything else."""
    scheme, found, _ = address.partition("://")
    return scheme.lower() if found and scheme.lower() in _SCHEMES else ""


def _says_no_tls(error: "ssl.SSLError") -> bool:
    """Some versions of Python know no name (`reason`) for what their OpenSSL says, and show its text alone."""
    words = str(error).upper().replace(" ", "_")
    return any(reason in words for reason in _NO_TLS)


def _only(certificate: Path) -> "ssl.SSLContext":
    """Believes the holder of the first certificate in the file and nobody else, whatever its name.

    The settings say which certificate their own listener shows; it is reached by address, so there is no name.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    end = "-----END CERTIFICATE-----"
    first, found, _ = certificate.read_text("ascii").partition(end)
    if not found:
        raise ValueError("there is no certificate in it")
    context.load_verify_locations(cadata=first[first.index("-----BEGIN CERTIFICATE-----") :] + end)
    return context
