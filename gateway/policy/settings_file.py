"""Process settings: option > environment > file > default, and for every value where it came from.

`config/gateway.yaml` names every key. A key is set from the environment as `GATEWAY_SECTION__KEY`, two underscores
between section and key (`GATEWAY_WORKERS`, `GATEWAY_STORE__URL`); lists are comma-separated. A secret is not written
into the file but referred to: `env:NAME` or `file:/path`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from gateway import settings as frozen
from gateway.core.public_address import is_loopback
from gateway.core.watching.alerts import Thresholds
from gateway.policy.beside import beside
from gateway.policy.compile.hooks import webhooks_of
from gateway.policy.compile.intake import intake_of
from gateway.policy.files import STDIN, absent, read_text, shown
from gateway.policy.findings import Findings, PolicyError, PolicyErrors, TooManyErrors, Where
from gateway.policy.models.setting_values import NO_STORE_URL, store_url_problem
from gateway.policy.models.settings import Listener, Logging, SettingsFile
from gateway.policy.nodes import Node, compose
from gateway.policy.overlay import overlay_environment, overlay_options
from gateway.policy.secret import dereference, is_inline
from gateway.policy.shipped import shipped
from gateway.policy.validate import validate
from gateway.settings import MIN_TOKEN_CHARS

CONFIG = Path("config/gateway.yaml")
_SECTIONS = ("store", "headers", "bounds", "drain", "logging", "traces", "webhooks", "intake", "alerts")
_PASSWORD = re.compile(r"://[^/]*@|[?&][a-z_]*password=").search


def load_settings(
    path: Path | None, env: Mapping[str, str], overrides: Mapping[str, object], *, need_secrets: bool = True
) -> frozen.Settings:
    """The settings of a process.

    path       the file; None: `./config/gateway.yaml`, else the shipped one
    env        environment variables; those that are not settings are ignored unless they look like a mistake
    overrides  dotted keys, `{"listen": "0.0.0.0:80", "store.url": "local"}`; None values are not there
    need_secrets  whether a reference that leads to no secret is an error; without it the settings are not for use

    Raises PolicyErrors with everything that is wrong, never with a secret in it.
    """
    findings, settings = Findings(need_secrets=need_secrets), None
    with suppress(TooManyErrors):
        settings = _load(path or default_path(), env, overrides, findings)
    findings.raise_errors()
    assert settings is not None
    return settings


def _load(
    path: Path, env: Mapping[str, str], overrides: Mapping[str, object], findings: Findings
) -> frozen.Settings | None:
    if absent(path) and path != STDIN:
        findings.error(Where(shown(path)), "not-found", "the settings file does not exist", f"tried {path.absolute()}")
        return None
    root = _read(path, findings)
    overlay_environment(root, env, findings)
    overlay_options(root, overrides, findings)
    model: SettingsFile | None = validate(root, SettingsFile, findings)
    url, token = root.at("store").child("url"), root.child("admin_token")
    inline = (
        is_inline(url, _PASSWORD, "the store's password", findings),
        is_inline(token, lambda text: text != "none", "the admin token", findings),
    )
    return None if model is None or any(inline) else _freeze(model, root, env, findings)


def policies_of(settings: frozen.Settings) -> Path:
    """Where their policies are. Raises PolicyErrors when nobody said where, and they are not where they are by default.

    A place that somebody gave is not looked at: who reads it says what is wrong with it."""
    if dict(settings.sources).get("policies") == "default" and absent(settings.policies):
        message = "the settings do not say where the policies are, and there is nothing at the default place"
        missing = PolicyError(str(settings.policies), 0, 0, "not-found", message, "policies: PATH, or -p PATH")
        raise PolicyErrors([missing])
    return settings.policies


def default_path() -> Path:
    """Where the settings are when nobody says. What is there and cannot be read is not passed over."""
    return shipped(str(CONFIG)) if absent(CONFIG) else CONFIG


def _read(path: Path, findings: Findings) -> Node:
    """The file's mapping; an empty one when it cannot be read, so that the rest is still checked."""
    text = read_text(path, findings)
    nothing = Node(Where(shown(path), 1, 1), {})
    if text is None:
        return nothing
    found = len(findings.errors)
    root = compose(text, shown(path), findings)
    if root is not None and isinstance(root.value, dict):
        for name in _SECTIONS:
            section = root.child(name)
            if section is not None and section.value is None:  # everything in it is commented out
                section.value = {}
        return root
    if len(findings.errors) == found:
        what = "the file is empty" if root is None else "expected a mapping of settings"
        findings.error(nothing.where, "empty" if root is None else "wrong-type", what, "start with version: 1")
    return nothing


def _freeze(model: SettingsFile, root: Node, env: Mapping[str, str], findings: Findings) -> frozen.Settings:
    """The model as `gateway.settings.Settings`, paths and references resolved."""
    listen = _listen(model.listen, root.at("listen"))
    admin = _listen(model.admin, root.at("admin")) if model.admin is not None else None
    if admin is not None and admin.port and (admin.host, admin.port) == (listen.host, listen.port):
        findings.error(root.at("admin").where, "address-twice", f"listen and admin are both {listen}")
    store, drain = model.store, model.drain
    url = _store_url(model, root, env, findings)
    token = _admin_token(model, admin, root, env, findings)
    settings = frozen.Settings(
        name=model.name,
        listen=listen,
        admin=admin,
        admin_token=token,
        admin_read_token=_read_token(model, token, root, env, findings),
        workers=model.workers,
        watchdog_us=model.watchdog,
        policies=beside(root.child("policies") or root, model.policies),
        trusted_proxies=model.trusted_proxies,
        store=frozen.StoreSettings(url, store.key_prefix, store.timeout, store.gateways),
        headers=frozen.HeaderSettings(**model.headers.model_dump()),
        bounds=frozen.Bounds(**_with_units(model.bounds.model_dump())),
        drain=frozen.Drain(drain.delay, drain.grace),
        logging=_logging(model.logging),
        traces=frozen.Traces(model.traces.endpoint, model.traces.sample),
        alerts=Thresholds(model.alerts.error_rate, model.alerts.auth_failures, model.alerts.calls, model.alerts.over),
        intake=intake_of(model.intake, root.at("intake"), env, findings),
        webhooks=webhooks_of(model.webhooks, root.at("webhooks"), env, findings),
    )
    for name, asked in (("webhooks", settings.webhooks.targets), ("intake", settings.intake.sources)):
        if asked and settings.store.url == "local":
            message = f"{name} must be kept somewhere, and store.url is local"
            findings.error(root.at(name).named, "needs-a-store", message, "store.url: embedded, or a Redis")
    return replace(settings, sources=tuple(_sources(settings, root)))


def _listen(listener: Listener, node: Node) -> frozen.Listen:
    tls = None
    if listener.tls is not None:
        files = node.at("tls")
        certificate = beside(files.at("certificate"), listener.tls.certificate)
        tls = frozen.Tls(certificate, beside(files.at("key"), listener.tls.key))
    return frozen.Listen(*listener.address, tls)


def _logging(model: Logging) -> frozen.Logging:
    values = model.model_dump()
    return frozen.Logging(**{**values, "sample": frozen.Sample(**values["sample"])})


def _with_units(bounds: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}_us" if name.endswith("_time") else name: value for name, value in bounds.items()}


def _store_url(model: SettingsFile, root: Node, env: Mapping[str, str], findings: Findings) -> str:
    url, node = model.store.url, root.at("store", "url")
    found = dereference(url, node, env, findings)
    problem = store_url_problem(found) if found is not None else None
    if problem and found != url:
        said = f"what {url} holds {problem}" if problem == NO_STORE_URL else f"what {url} holds: {problem}"
        findings.error(node.where, "bad-store-url", said)
    return found or url


def _admin_token(
    model: SettingsFile, admin: frozen.Listen | None, root: Node, env: Mapping[str, str], findings: Findings
) -> str | None:
    """The token, which is a must for an address that others can reach."""
    token = _token(model.admin_token, root.at("admin_token"), env, findings)
    if admin is not None and not model.admin_token and not is_loopback(admin.host):
        message = f"others can reach {admin}: that needs an admin_token"
        findings.error(root.at("admin").where, "admin-open", message, "admin_token: env:NAME or file:/path")
    return token


def _read_token(
    model: SettingsFile, token: str | None, root: Node, env: Mapping[str, str], findings: Findings
) -> str | None:
    """The token for reading: another one, and only where there is one for everything."""
    node = root.at("admin_read_token")
    reading = _token(model.admin_read_token, node, env, findings)
    if model.admin_read_token and not model.admin_token:
        message = "without an admin_token whoever reaches the admin listener may do everything"
        findings.error(node.where, "admin-open", message, "admin_token: env:NAME or file:/path")
    elif reading is not None and reading == token:
        findings.error(node.where, "same-secret", "this is the admin_token, which may do everything")
    return reading


def _token(reference: str | None, node: Node, env: Mapping[str, str], findings: Findings) -> str | None:
    token = dereference(reference, node, env, findings) if reference else None
    if token is not None and len(token) < MIN_TOKEN_CHARS:
        findings.error(node.where, "weak-secret", f"the admin token must have at least {MIN_TOKEN_CHARS} characters")
    elif token is not None and not token.isprintable():  # no request could carry it
        findings.error(node.where, "weak-secret", "the admin token must be one line of text")
    return token


def _sources(settings: frozen.Settings, root: Node) -> Iterator[tuple[str, str]]:
    """(dotted key, place) of every value."""
    for name, _ in frozen.leaves(settings):
        key, node = name.removesuffix("_us"), cast("Node | None", root)
        for step in key.split("."):
            node = node and node.child(step)
        yield key, str(node.where) if node else "default"
