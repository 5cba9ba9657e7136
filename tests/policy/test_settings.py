"""Settings: what the file may say, what wins over it, where each value came from, and that secrets stay secret."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.control_groups import usable_cores
from gateway.policy import PolicyErrors
from gateway.policy.models.settings import SettingsFile
from gateway.policy.overlay import setting_paths
from gateway.policy.settings_file import load_settings
from gateway.policy.shipped import shipped
from gateway.settings import Listen, Settings

Load = Callable[..., Settings]
Errors = Callable[..., list[str]]
NO_ENV: Mapping[str, str] = {}


@pytest.fixture
def load(directory: Path) -> Load:
    """Settings from a file of this text, `s.yaml` in the working directory."""

    def of(text: str = "version: 1\n", env: Mapping[str, str] = NO_ENV, **options: object) -> Settings:
        (directory / "s.yaml").write_text(text)
        return load_settings(Path("s.yaml"), env, options)

    return of


@pytest.fixture
def errors(load: Load) -> Errors:
    def of(*args: Any, **options: object) -> list[str]:
        with pytest.raises(PolicyErrors) as raised:
            load(*args, **options)
        return [str(error) for error in raised.value.errors]

    return of


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("none", "got 'none' (did you mean 'off'?) [bad-log-place]"),
        ("stdot", "got 'stdot' (did you mean 'stdout'?) [bad-log-place]"),
        ("requests", "got 'requests' (a file of this name: ./requests) [bad-log-place]"),
        ("''", "got '' [bad-log-place]"),
        ("false", "got false [wrong-type]"),
    ],
)
def test_no_word_is_taken_for_the_file_of_a_log(errors: Errors, said: str, why: str) -> None:
    (error,) = errors(f"version: 1\nlogging: {{access: {said}}}\n")
    assert error == f"s.yaml:2:19: expected stdout, stderr, off or the path of a file, {why}"


def test_bytes_of_a_variable_that_are_no_text_are_told(errors: Errors) -> None:
    assert errors(env={"GATEWAY_POLICIES": "\udcff"}) == [
        "environment variable GATEWAY_POLICIES: not UTF-8 text [not-utf8]"
    ]


def test_a_certificate_without_a_key_is_told_without_a_word_about_limits(errors: Errors) -> None:
    (error,) = errors("version: 1\nlisten: {address: '127.0.0.1:8443', tls: {certificate: c.pem}}\n")
    assert error == "s.yaml:2:37: key 'key' is missing [missing-key]"


def test_the_annotated_file_says_every_key_once_with_its_default() -> None:
    path = shipped("config/gateway.yaml")
    settings = load_settings(path, {}, {})
    assert replace(settings, sources=(), policies=Settings().policies) == Settings()
    assert settings.policies.resolve() == shipped("policies").resolve()
    origins = dict(settings.sources)
    assert all(origin.startswith(str(path)) for origin in origins.values()), "left out of config/gateway.yaml"
    assert len(set(origins.values())) == len(origins)


def test_settings_and_file_have_the_same_keys() -> None:
    def names(kind: object, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        found = set()
        for field in fields(kind):  # type: ignore[arg-type]
            value, name = getattr(kind, field.name), field.name.removesuffix("_us")
            inner = is_dataclass(value) and not isinstance(value, Listen)
            found |= names(value, (*path, name)) if inner else {(*path, name)}
        return found

    listeners = {"listen", "admin"}
    in_file = {path for path in setting_paths(SettingsFile) if path[0] not in listeners or len(path) == 1}
    sections = {path[:-1] for path in in_file if len(path) > 1}
    assert in_file - sections - {("version",)} == names(Settings()) - {("sources",)}


def test_nothing_said_is_the_defaults(load: Load) -> None:
    settings = load()
    assert replace(settings, sources=(), policies=Path("policies")) == Settings()
    assert set(dict(settings.sources).values()) == {"default"}


def test_an_option_wins_over_the_environment_and_that_over_the_file(load: Load) -> None:
    text = "workers: 2\nname: file\nlisten: 127.0.0.1:1\nstore:\n  timeout: 50ms\n"
    env = {"GATEWAY_WORKERS": "3", "GATEWAY_NAME": "env", "GATEWAY_STORE__KEY_PREFIX": "e:"}
    settings = load(text, env, workers="4")
    assert (settings.workers, settings.name, settings.listen.port) == (4, "env", 1)
    assert (settings.store.key_prefix, settings.store.timeout_us) == ("e:", 50_000)
    origins = dict(settings.sources)
    assert [origins[name] for name in ["workers", "name", "store.key_prefix", "store.timeout", "admin"]] == [
        "--workers",
        "environment variable GATEWAY_NAME",
        "environment variable GATEWAY_STORE__KEY_PREFIX",
        "s.yaml:5",
        "default",
    ]


def test_environment_values_are_what_the_setting_wants(load: Load) -> None:
    env = {
        "GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "GATEWAY_HEADERS__SERVER_TIMING": "true",
        "GATEWAY_BOUNDS__CALLS_IN_FLIGHT": "7",
        "GATEWAY_BOUNDS__BODY_BYTES": "1MiB",
        "GATEWAY_BOUNDS__SOCKETS_PER_IP": "9",
        "GATEWAY_DRAIN__DELAY": "0s",
        "GATEWAY_LOGGING__PRETTY": "false",
        "GATEWAY_LOGGING__REDACT": "",
        "GATEWAY_ADMIN": "off",
        "GATEWAY_LISTEN": "[::1]:0",
    }
    settings = load(env=env)
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert settings.headers.server_timing is True
    assert (settings.bounds.calls_in_flight, settings.bounds.body_bytes, settings.bounds.sockets_per_ip) == (
        7,
        2**20,
        9,
    )
    assert (settings.drain.delay_us, settings.logging.pretty, settings.logging.redact) == (0, False, ())
    assert (settings.admin, settings.listen) == (None, Listen("::1", 0))


def test_a_listener_may_be_completed_from_the_environment(load: Load, directory: Path) -> None:
    env = {"GATEWAY_LISTEN__TLS__CERTIFICATE": "c.pem", "GATEWAY_LISTEN__TLS__KEY": "/k.pem"}
    listen = load("listen: 0.0.0.0:8443\n", env).listen
    assert (listen.host, listen.port) == ("0.0.0.0", 8443)
    assert listen.tls is not None
    assert (listen.tls.certificate, listen.tls.key) == (Path("c.pem"), Path("/k.pem"))
    assert load("listen: 0.0.0.0:8443\n", {**env, "GATEWAY_LISTEN__ADDRESS": "[::1]:1"}).listen == Listen(
        "::1", 1, listen.tls
    )


def test_paths_are_relative_to_who_says_them(directory: Path) -> None:
    (directory / "etc").mkdir()
    (directory / "etc" / "s.yaml").write_text(
        "policies: rules\nlisten: {address: ':1', tls: {certificate: c.pem, key: k.pem}}\n"
    )
    settings = load_settings(Path("etc/s.yaml"), {}, {})
    assert settings.policies == Path("etc/rules")
    assert settings.listen.tls is not None
    assert settings.listen.tls.certificate == Path("etc/c.pem")
    assert load_settings(Path("etc/s.yaml"), {"GATEWAY_POLICIES": "rules"}, {}).policies == Path("rules")
    assert load_settings(Path("etc/s.yaml"), {}, {"policies": Path("mine")}).policies == Path("mine")


def test_a_linked_directory_is_not_shortened_away(directory: Path) -> None:
    (directory / "deep" / "config").mkdir(parents=True)
    (directory / "deep" / "config" / "s.yaml").write_text("version: 1\n")
    (directory / "config").symlink_to("deep/config")
    assert load_settings(Path("config/s.yaml"), {}, {}).policies.resolve() == (directory / "deep/policies").resolve()


def test_nobody_says_which_file(directory: Path) -> None:
    assert load_settings(None, {}, {}).policies.resolve() == shipped("policies").resolve()
    (directory / "config").mkdir()
    (directory / "config" / "gateway.yaml").write_text("name: mine\n")
    assert load_settings(None, {}, {}).name == "mine"


def test_a_named_file_that_is_not_there(directory: Path) -> None:
    with pytest.raises(PolicyErrors) as raised:
        load_settings(Path("nowhere.yaml"), {}, {})
    assert str(raised.value) == (
        f"nowhere.yaml: the settings file does not exist (tried {directory}/nowhere.yaml) [not-found]"
    )


BAD = {
    "admin: 0.0.0.0:9090\n": "s.yaml:1:8: others can reach 0.0.0.0:9090: that needs an admin_token "
    "(admin_token: env:NAME or file:/path) [admin-open]",
    "admin_token: hunter2\n": "s.yaml:1:14: the admin token must not be written in the file "
    "(refer to it: env:NAME or file:/path) [inline-secret]",
    "admin_token: 12345\n": "s.yaml:1:14: expected env:NAME or file:/path of a token [inline-secret]",
    "admin_token: env:NOWHERE\n": "s.yaml:1:14: environment variable NOWHERE is not set [missing-secret]",
    "listen: 8080\n": "s.yaml:1:9: expected an address like 127.0.0.1:8080, got the number 8080 [wrong-type]",
    "listen: localhost\n": "s.yaml:1:9: 'localhost' is not an address "
    "(write it like 127.0.0.1:8080 or [::1]:8080) [bad-address]",
    "listen: 1.2.3.4:99999\n": "s.yaml:1:9: '1.2.3.4:99999' is not an address "
    "(write it like 127.0.0.1:8080 or [::1]:8080) [bad-address]",
    "listen: '*:80'\n": "s.yaml:1:9: '*:80' is not an address (all addresses: 0.0.0.0 or [::]) [bad-address]",
    "admin: 127.0.0.1:8080\n": "s.yaml:1:8: listen and admin are both 127.0.0.1:8080 [address-twice]",
    "workers: 0\n": "s.yaml:1:10: must be between 1 and 1024, got 0 [out-of-range]",
    "watchdog: 0s\n": "s.yaml:1:11: must be at least 2s, got '0s' (off: never) [out-of-range]",
    "watchdog: 1999ms\n": "s.yaml:1:11: must be at least 2s, got '1999ms' (off: never) [out-of-range]",
    "watchdog: 30\n": "s.yaml:1:11: expected a duration like 30s or 10m, got the number 30 [wrong-type]",
    "watchdog: none\n": "s.yaml:1:11: 'none' is not a duration (write it like 30s or 10m) [bad-duration]",
    "store:\n  gateways: 0\n": "s.yaml:2:13: must be at least 1, got 0 [out-of-range]",
    "workers: many\n": "s.yaml:1:10: expected a number of processes or auto, got 'many' [wrong-type]",
    "workres: 1\n": "s.yaml:1:1: unknown key 'workres' (did you mean 'workers'?) [unknown-key]",
    "version: 2\n": "s.yaml:1:10: expected 1, got the number 2 [unknown-value]",
    "name: a b\n": "s.yaml:1:7: 'a b' is not a name (a letter first, then letters, digits and . _ - only, at most 64) "
    "[bad-name]",
    "policies:\n": "s.yaml:1:10: expected text, got nothing [wrong-type]",
    "policies: ''\n": "s.yaml:1:11: must not be empty [empty]",
    "trusted_proxies: 10.0.0.0/8\n": "s.yaml:1:18: expected a list, got the text '10.0.0.0/8' (write [10.0.0.0/8]) [wrong-type]",
    "trusted_proxies: [10.0.0.1/8]\n": "s.yaml:1:19: '10.0.0.1/8' has bits beyond its prefix "
    "(did you mean '10.0.0.0/8'?) [bad-network]",
    "trusted_proxies: [proxy]\n": "s.yaml:1:19: 'proxy' is not a network (write it like 10.0.0.0/8) [bad-network]",
    "store: redis\n": "s.yaml:1:8: expected a mapping, got the text 'redis' (its keys: gateways, key_prefix, timeout, url) [wrong-type]",
    "store: {url: redis}\n": "s.yaml:1:14: this is not the URL of a store (embedded, local, redis://host:6379, "
    "unix:///path, redis+sentinel://host:26379/name, redis+cluster://host:6379, env:NAME or file:/path) [bad-store-url]",
    "store: {url: 'redis+cluster://a,b/3'}\n": "s.yaml:1:14: a Redis Cluster has no database but 0 [bad-store-url]",
    "store: {url: 'redis://h?tiemout=3'}\n": "s.yaml:1:14: unknown option in the query; the "
    "options are db, password, protocol, sentinel_password, sentinel_username, ssl_ca_certs, ssl_cert_reqs, ssl_certfile, "
    "ssl_check_hostname, ssl_keyfile, ssl_password, username [bad-store-url]",
    "store: {url: 'env:NOWHERE'}\n": "s.yaml:1:14: environment variable NOWHERE is not set [missing-secret]",
    "store: {url: 'file:nowhere'}\n": "s.yaml:1:14: the file nowhere cannot be read: No such file or directory "
    "[missing-secret]",
    "store: {url: 'redis://:hunter2@h'}\n": "s.yaml:1:14: the store's password must not be written in the file "
    "(refer to it: env:NAME or file:/path) [inline-secret]",
    "store: {url: 'redis://h?password=hunter2'}\n": "s.yaml:1:14: the store's password must not be written in the file "
    "(refer to it: env:NAME or file:/path) [inline-secret]",
    "name: 1gw\n": "s.yaml:1:7: '1gw' is not a name (a letter first, then letters, digits and . _ - only, at most 64) "
    "[bad-name]",
    "store: {key_prefix: 'a b'}\n": "s.yaml:1:21: 'a b' is not a prefix of keys (letters, digits and : . _ - only, "
    "at most 32) [bad-name]",
    "headers: {problem_base: /errors}\n": "s.yaml:1:25: '/errors' is not the beginning of a URL "
    "(about:blank, or like https://errors.example.com/) [bad-name]",
    "bounds: {body_bytes: 1KB}\n": "s.yaml:1:22: unknown unit 'KB' in '1KB' (units: B, KiB, MiB, GiB) [bad-size]",
    "bounds: {body_bytes: 0B}\n": "s.yaml:1:22: a size must be more than 0, got '0B' [out-of-range]",
    "bounds: {sockets_per_ip: 0}\n": "s.yaml:1:26: expected a number of at least 1 or none, got '0' [wrong-type]",
    "bounds: {idle_time: 0s}\n": "s.yaml:1:21: a duration must be more than 0 and at most 800d, got '0s' [out-of-range]",
    "drain: {grace: 5}\n": "s.yaml:1:16: expected a duration like 30s or 10m, got the number 5 [wrong-type]",
    "headers: {server_timing: yes}\n": "s.yaml:1:26: expected true or false, got the text 'yes' [wrong-type]",
    "logging: {pretty: 1}\n": "s.yaml:1:19: expected true, false or auto, got '1' [unknown-value]",
    "logging: {level: warn}\n": "s.yaml:1:18: expected one of debug, info, warning, error, got the text 'warn' "
    "(did you mean 'warning'?) [unknown-value]",
    "": "s.yaml:1:1: the file is empty (start with version: 1) [empty]",
    "- a\n": "s.yaml:1:1: expected a mapping of settings (start with version: 1) [wrong-type]",
    "a: [\n": "s.yaml:2:1: this is not YAML: did not find expected node content, while parsing a flow node that began on "
    "line 2 [yaml-syntax]",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_said_of_a_bad_file(errors: Errors, text: str) -> None:
    found = errors(text)
    assert found == [BAD[text]]
    assert "hunter2" not in found[0]


def test_a_variable_that_holds_a_secret_of_the_file_is_no_misspelled_setting(errors: Errors) -> None:
    env = {"GATEWAY_ADMINTOKEN": "0123456789abcdef"}
    assert errors("admin_token: env:GATEWAY_ADMINTOKEN\nfoo: 1\n", env) == [
        "s.yaml:2:1: unknown key 'foo' [unknown-key]"
    ]
    assert errors("name: ok\n", env) == [
        "environment variable GATEWAY_ADMINTOKEN: there is no such setting (did you mean GATEWAY_ADMIN_TOKEN?) "
        "[unknown-key]"
    ]


def test_what_is_said_of_bad_variables_and_options(errors: Errors) -> None:
    env = {"GATEWAY_WORKERS": "x", "GATEWAY_BOUNDS__HEADR_BYTES": "1KiB", "GATEWAY_STORE_URL": "local"}
    assert errors("name: ok\nfoo: 1\n", env, listn="x", admin="y") == [
        "s.yaml:2:1: unknown key 'foo' [unknown-key]",
        "environment variable GATEWAY_BOUNDS__HEADR_BYTES: there is no such setting "
        "(did you mean GATEWAY_BOUNDS__HEADER_BYTES?) [unknown-key]",
        "environment variable GATEWAY_STORE_URL: there is no such setting (did you mean GATEWAY_STORE__URL?) "
        "[unknown-key]",
        "--listn: there is no setting 'listn' (did you mean 'listen'?) [unknown-key]",
        "--admin: 'y' is not an address (write it like 127.0.0.1:8080 or [::1]:8080) [bad-address]",
        "environment variable GATEWAY_WORKERS: expected a number of processes or auto, got 'x' [wrong-type]",
    ]


def test_a_number_of_workers_that_is_much_too_great_is_told_its_bound(errors: Errors) -> None:
    assert errors("version: 1\n", {}, workers="10000") == [
        "--workers: must be between 1 and 1024, got 10000 [out-of-range]"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "GATEWAY_PORT",
        "GATEWAY_SERVICE_HOST",
        "GATEWAY_PORT_8080_TCP",
        "GATEWAY_ADMIN_PORT",
        "GATEWAY_TEST_REDIS",
        "PATH",
    ],
)
def test_variables_of_others_are_left_alone(load: Load, name: str) -> None:
    assert load(env={name: "tcp://10.0.0.1:80"}).workers == 1


def test_an_empty_section_is_its_defaults(load: Load) -> None:
    assert load("store:\nbounds:\nlogging:\n").store == Settings().store


def test_secrets_by_reference(load: Load, directory: Path) -> None:
    (directory / "url").write_text("redis://:hunter2@h\n")
    assert load("store: {url: 'file:url'}\n").store.url == "redis://:hunter2@h"
    assert load("store: {url: 'env:URL'}\n", {"URL": "redis://:hunter2@h"}).store.url == "redis://:hunter2@h"
    settings = load(env={"GATEWAY_STORE__URL_FILE": str(directory / "url")})
    assert settings.store.url == "redis://:hunter2@h"
    assert "hunter2" not in str(settings.sources)
    assert load(env={"GATEWAY_STORE__URL": "redis://:pw@h"}).store.url == "redis://:pw@h"


def test_the_token_of_the_admin_listener(load: Load, errors: Errors, directory: Path) -> None:
    token = "correct horse battery"
    (directory / "token").write_text(token + "\n")
    assert load().admin_token is None
    assert load("admin: 0.0.0.0:9090\nadmin_token: file:token\n").admin_token == token
    assert load(env={"GATEWAY_ADMIN_TOKEN": token}).admin_token == token
    settings = load(env={"GATEWAY_ADMIN_TOKEN_FILE": "token"})
    assert settings.admin_token == token
    assert token not in repr(settings)
    assert errors(env={"GATEWAY_ADMIN_TOKEN": "hunter2"}) == [
        "environment variable GATEWAY_ADMIN_TOKEN: the admin token must have at least 16 characters [weak-secret]"
    ]


def test_the_token_for_reading(load: Load, errors: Errors, directory: Path) -> None:
    everything, reading = "correct horse battery", "battery staple correct"
    (directory / "reading").write_text(reading + "\n")
    assert load().admin_read_token is None
    env = {"GATEWAY_ADMIN_TOKEN": everything}
    assert load("admin_read_token: file:reading\n", env).admin_read_token == reading
    assert load(env={**env, "GATEWAY_ADMIN_READ_TOKEN_FILE": "reading"}).admin_read_token == reading
    settings = load(env={**env, "GATEWAY_ADMIN_READ_TOKEN": reading})
    assert settings.admin_read_token == reading
    assert reading not in repr(settings)
    assert errors("admin_read_token: file:reading\n") == [
        "s.yaml:1:19: without an admin_token whoever reaches the admin listener may do everything "
        "(admin_token: env:NAME or file:/path) [admin-open]"
    ]
    assert errors("admin_read_token: env:R\nadmin_token: env:T\n", {"R": everything, "T": everything}) == [
        "s.yaml:1:19: this is the admin_token, which may do everything [same-secret]"
    ]
    assert errors("admin_read_token: env:R\nadmin_token: env:T\n", {"R": "hunter2", "T": everything}) == [
        "s.yaml:1:19: the admin token must have at least 16 characters [weak-secret]"
    ]


@pytest.mark.parametrize(
    ("held", "why"),
    [
        ("", "environment variable T is empty [missing-secret]"),
        (" \n", "environment variable T is empty [missing-secret]"),
        ("correct horse\nbattery staple", "the admin token must be one line of text [weak-secret]"),
    ],
)
def test_a_token_that_nobody_could_show_is_none(errors: Errors, held: str, why: str) -> None:
    """Least of all does the listener do without."""
    assert errors("admin_token: env:T\n", {"T": held}) == [f"s.yaml:1:14: {why}"]


def test_files_with_secrets_are_text_of_a_sensible_size(load: Load, errors: Errors, directory: Path) -> None:
    (directory / "token").write_bytes(b"\xef\xbb\xbfcorrect horse battery\r\n")
    assert load("admin_token: file:token\n").admin_token == "correct horse battery"
    (directory / "token").write_bytes(b"x" * (64 * 1024 + 1))
    assert errors("admin_token: file:token\n") == ["s.yaml:1:14: the file token is larger than 64 KiB [missing-secret]"]


def test_what_a_reference_leads_to_is_checked_and_not_shown(errors: Errors, directory: Path) -> None:
    (directory / "url").write_text("hunter2\n")
    (directory / "empty").write_text("\n")
    (directory / "binary").write_bytes(b"\xff")
    text = "store: {url: '%s'}\n"
    assert errors(text % "file:url") == ["s.yaml:1:14: what file:url holds is not the URL of a store [bad-store-url]"]
    assert errors(text % "env:A", {"A": "env:B"}) == [
        "s.yaml:1:14: what env:A holds is not the URL of a store [bad-store-url]"
    ]
    assert errors(text % "file:empty")[0] == "s.yaml:1:14: the file empty is empty [missing-secret]"
    assert errors(text % "file:binary") == [
        "s.yaml:1:14: the file binary cannot be read: not UTF-8 text [missing-secret]"
    ]


def test_a_watchdog_has_its_time_or_is_off(load: Load) -> None:
    assert load().watchdog_us == 30_000_000
    assert load("watchdog: 2s\n").watchdog_us == 2_000_000
    assert load("watchdog: off\n").watchdog_us is None
    assert load(env={"GATEWAY_WATCHDOG": "off"}).watchdog_us is None


def test_workers_auto_is_one_per_usable_core(load: Load) -> None:
    assert load("workers: auto\n").workers == usable_cores()


def test_numbers_and_names_from_options(load: Load) -> None:
    settings = load("admin: localhost:9090\n", **{"bounds.sockets_per_ip": 5, "drain.delay": "0s", "name": None})
    assert (settings.bounds.sockets_per_ip, settings.drain.delay_us, settings.name) == (5, 0, "gateway")
    assert settings.admin == Listen("localhost", 9090)


@pytest.mark.parametrize(
    ("text", "there", "error"),
    [
        ("traces: {endpoint: localhost:4318}", True, "s.yaml:1:20: this is not the URL of a collector"),
        ("traces: {endpoint: 'http://u:pw@c:4318'}", True, "this is not the URL of a collector"),
        ("traces: {endpoint: 'http://c:4318'}", False, "which are missing"),
        ("traces: {sample: 1.5}", True, "s.yaml:1:18: expected a share between 0 and 1, got '1.5'"),
        ("traces: {sample: often}", True, "expected a share between 0 and 1, got 'often'"),
    ],
)
def test_spans_that_cannot_be_sent(
    errors: Errors, monkeypatch: pytest.MonkeyPatch, text: str, there: bool, error: str
) -> None:
    monkeypatch.setattr("gateway.policy.models.setting_values.spans_possible", lambda: there)
    (found,) = errors(text + "\nversion: 1\n")
    assert error in found
    assert "pw" not in found


def test_spans_are_asked_for_by_an_endpoint(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.policy.models.setting_values.spans_possible", lambda: True)
    settings = load(env={"GATEWAY_TRACES__ENDPOINT": "https://[::1]:4318/otlp", "GATEWAY_TRACES__SAMPLE": "0.25"})
    assert (settings.traces.endpoint, settings.traces.sample) == ("https://[::1]:4318/otlp", 0.25)
    assert load().traces.endpoint is None
