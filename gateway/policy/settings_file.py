"""Process settings: option > environment > file > default, and for every value where it came from.

`config/gateway.yaml` names every key. A key is set from the environment as `GATEWAY_SECTION__KEY`, two underscores
between section and key (`GATEWAY_WORKERS`, `GATEWAY_STORE__URL`); lists are comma-separated. A secret is not written
into the file but referred to: `env:NAME` or `file:/path`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from gateway import settings as frozen
from gateway.policy.files import STDIN, read_text, shown
from gateway.policy.findings import Findings, Where
from gateway.policy.nodes import Node, compose
from gateway.policy.overlay import overlay_environment, overlay_options
from gateway.policy.settings_model import Listener, SettingsFile, is_store_url
from gateway.policy.shipped import shipped
from gateway.policy.validate import validate

CONFIG = Path("config/gateway.yaml")
_MAX_SECRET_BYTES = 64 * 1024
_INLINE_SECRET = re.compile(r"://[^/]*@|[?&][a-z_]*password=").search


def load_settings(path: Path | None, env: Mapping[str, str], overrides: Mapping[str, object]) -> frozen.Settings:
    """The settings of a process.

    path       the file; None: `./config/gateway.yaml`, else the shipped one
    env        environment variables; those that are not settings are ignored unless they look like a mistake
    overrides  dotted keys, `{"listen": "0.0.0.0:80", "store.url": "local"}`; None values are not there

    Raises PolicyErrors with everything that is wrong, never with a secret in it.
    """
    findings = Findings()
    path = path or default_path()
    if not path.exists() and path != STDIN:
        findings.error(Where(shown(path)), "not-found", "the settings file does not exist", f"tried {path.absolute()}")
        findings.raise_errors()
    root = _read(path, findings)
    overlay_environment(root, env, findings)
    overlay_options(root, overrides, findings)
    model: SettingsFile | None = validate(root, SettingsFile, findings)
    _refuse_inline_secret(root, findings)
    settings = _freeze(model, root, env, findings) if model is not None else None
    findings.raise_errors()
    assert settings is not None
    return settings


def default_path() -> Path:
    """Where the settings are when nobody says."""
    return CONFIG if CONFIG.is_file() else shipped(str(CONFIG))


def _read(path: Path, findings: Findings) -> Node:
    """The file's mapping; an empty one when it cannot be read, so that the rest is still checked."""
    text = read_text(path, findings)
    nothing = Node(Where(shown(path), 1, 1), {})
    if text is None:
        return nothing
    found = len(findings.errors)
    root = compose(text, shown(path), findings)
    if root is not None and isinstance(root.value, dict):
        for section in root.value.values():
            if section.value is None:  # everything in it is commented out
                section.value = {}
        return root
    if len(findings.errors) == found:
        what = "the file is empty" if root is None else "expected a mapping of settings"
        findings.error(nothing.where, "empty" if root is None else "wrong-type", what, "start with version: 1")
    return nothing


def _refuse_inline_secret(root: Node, findings: Findings) -> None:
    """A password in a file that is copied around and put under version control."""
    url = root.at("store").child("url")
    if url is not None and url.where.line and isinstance(url.value, str) and _INLINE_SECRET(url.value):
        message = "the store's password must not stand in the file"
        findings.error(url.where, "inline-secret", message, "refer to it: env:NAME or file:/path")


def _freeze(model: SettingsFile, root: Node, env: Mapping[str, str], findings: Findings) -> frozen.Settings:
    """The model as `gateway.settings.Settings`, paths and references resolved."""
    listen = _listen(model.listen, root.at("listen"))
    admin = _listen(model.admin, root.at("admin")) if model.admin is not None else None
    if admin is not None and admin.port and (admin.host, admin.port) == (listen.host, listen.port):
        findings.error(root.at("admin").where, "address-twice", f"listen and admin are both {listen}")
    store, drain = model.store, model.drain
    settings = frozen.Settings(
        name=model.name,
        listen=listen,
        admin=admin,
        workers=model.workers,
        policies=_beside(root.child("policies") or root, model.policies),
        trusted_proxies=model.trusted_proxies,
        store=frozen.StoreSettings(_dereference(store.url, root, env, findings), store.key_prefix, store.timeout),
        headers=frozen.HeaderSettings(**model.headers.model_dump()),
        bounds=frozen.Bounds(**_with_units(model.bounds.model_dump())),
        drain=frozen.Drain(drain.delay, drain.grace),
        logging=frozen.Logging(**model.logging.model_dump()),
    )
    return replace(settings, sources=tuple(_sources(settings, root)))


def _listen(listener: Listener, node: Node) -> frozen.Listen:
    tls = None
    if listener.tls is not None:
        files = node.at("tls")
        certificate = _beside(files.at("certificate"), listener.tls.certificate)
        tls = frozen.Tls(certificate, _beside(files.at("key"), listener.tls.key))
    return frozen.Listen(*listener.address, tls)


def _beside(node: Node, path: str) -> Path:
    """Relative to the file that says it; to the working directory when it comes from an option or a variable."""
    if not node.where.line:
        return Path(path)
    joined = Path(node.where.file).parent / path
    tidy = Path(os.path.normpath(joined))  # config/../policies; not the same where config is a link
    return tidy if tidy.resolve() == joined.resolve() else joined


def _with_units(bounds: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}_us" if name.endswith("_time") else name: value for name, value in bounds.items()}


def _dereference(url: str, root: Node, env: Mapping[str, str], findings: Findings) -> str:
    """What `env:NAME` or `file:/path` refers to; any other URL as it is. What was referred to is never shown."""
    node = root.at("store", "url")
    kind, _, name = url.partition(":")
    found: str | None = url
    if kind == "env":
        found = env.get(name)
        if not found:
            findings.error(node.where, "missing-secret", f"environment variable {name} is not set")
    elif kind == "file":
        found = _read_secret(_beside(node, name), node.where, findings)
    if found and found is not url:
        found = found.strip()
        if found.startswith(("env:", "file:")) or not is_store_url(found):
            findings.error(node.where, "bad-store-url", f"what {kind}:{name} holds is not the URL of a store")
    return found or url


def _read_secret(path: Path, where: Where, findings: Findings) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SECRET_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        findings.error(where, "missing-secret", f"the file {path} cannot be read: {reason}")
        return None
    if not content.strip():
        findings.error(where, "missing-secret", f"the file {path} is empty")
    return content


def _sources(settings: object, root: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(dotted key, place) of every value."""
    for field in fields(settings):  # type: ignore[arg-type] # a dataclass of gateway.settings
        value, name = getattr(settings, field.name), field.name.removesuffix("_us")
        if is_dataclass(value) and not isinstance(value, frozen.Listen):
            yield from _sources(value, root.child(name) or Node(root.where, {}), (*path, name))
        elif name != "sources":
            node = root.child(name)
            yield ".".join((*path, name)), str(node.where) if node else "default"
