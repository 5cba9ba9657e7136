"""Files with a secret where none belongs, and with mistakes beside one: no form of the report repeats it."""

from pathlib import Path

import pytest

from gateway.cli.policies.check import Output
from gateway.cli.policies.checking import run_check

NEEDLE = "s3cr3t"
SETTINGS = [
    f"admin_token: {NEEDLE}",
    f"admin_token: {NEEDLE}-with-16-characters",
    f"admin_token: [{NEEDLE}]",
    f"admin_read_token: {NEEDLE}",
    f"admin_token: {{value: {NEEDLE}}}",
    f'admin_token: "{NEEDLE}',
    f"admin_token: {NEEDLE}: x",
    f"admin_tokn: {NEEDLE}",
    f"admin_token: {NEEDLE}\nadmin_token: {NEEDLE}2",
    f"  admin_token: {NEEDLE}",
    f"admin_token: !!str {NEEDLE}",
    f"admin_token: &a {NEEDLE}\nname: *b",
    f"store: {{url: 'redis://:{NEEDLE}@h:6379/0'}}",
    f"store: {{url: 'redis://:{NEEDLE}@h:port'}}",
    f"store: {{url: 'redis://:{NEEDLE}'}}",
    f"store: {{url: 'mysql://u:{NEEDLE}@h'}}",
    f"store: {{url: 'redis://h?password={NEEDLE}'}}",
    f"store: {{url: 'redis://h?passwd={NEEDLE}'}}",
    f"store: {{url: ':{NEEDLE}@h'}}",
    f"store: {{url: ['redis://:{NEEDLE}@h']}}",
    f"store: {{url: 'redis://:{NEEDLE}@h}}",
    f"store: {{urll: 'redis://:{NEEDLE}@h'}}",
    f"store: {{password: {NEEDLE}}}",
    f"store: 'redis://:{NEEDLE}@h'",
    f"store:\n  url: redis://:{NEEDLE}@h\n timeout: 5",
]
POLICIES = [
    f"upstreams: {{up: {{url: 'https://u:{NEEDLE}@api.example'}}}}",
    f"upstreams: {{up: {{url: 'https://api.example/?token={NEEDLE}'}}}}",
    f"upstreams: {{up: {{url: 'https://api.example', token: {NEEDLE}}}}}",
    f"upstreams: {{up: {{url: 'https://u:{NEEDLE}@api.example', timeout: 1}}}}",
    f"upstreams: {{up: {{url: ['https://u:{NEEDLE}@api.example']}}}}",
    f"upstreams: {{up: {{url: 'ftp://u:{NEEDLE}@api.example'}}}}",
    f"authentication: {{a: {{type: api_keys, keys: [{{hash: {NEEDLE}}}]}}}}",
    f"authentication: {{a: {{type: api_keys, keys: [{{hash: 'blake2b:{NEEDLE}'}}]}}}}",
    f"authentication: {{a: {{type: api_keys, keys: [{NEEDLE}]}}}}",
    f"authentication: {{a: {{type: api_keys, keys: [{{key: {NEEDLE}}}]}}}}",
    f"authentication: {{a: {{type: api_keys, pepper: {NEEDLE}, keys: []}}}}",
    f"authentication: {{a: {{type: api_keys, peper: {NEEDLE}, keys: []}}}}",
    f"authentication:\n  a:\n    type: api_keys\n    pepper: {NEEDLE}: x",
    f"authentication: {{a: {{type: jwt, issuer: i, audience: a, algorithms: [HS256], secret: {NEEDLE}}}}}",
    f"authentication: {{a: {{type: jwt, issuer: i, audience: a, algorithms: [HS256], secret: [{NEEDLE}]}}}}",
    f"authentication: {{a: {{type: jwt, issuer: i, audience: a, algorithms: [RS256], jwks: 'https://u:{NEEDLE}@h/'}}}}",
    f"authentication: {{a: {{type: jwt, issuer: i, audience: a, algorithms: [RS256], jwks: 'http://h/?token={NEEDLE}'}}}}",
    f"authentication: {{a: {{type: jwt, issuer: 'https://u:{NEEDLE}@h', audience: a, algorithms: [X], jwks: 'x'}}}}",
    f"authentication: {{a: {{type: jwt, issuer: i, audience: a, algorithms: [RS256], keys: ['-----BEGIN {NEEDLE}']}}}}",
    f"authentication: {{a: {{type: jwt, token: {NEEDLE}}}}}",
    f"credentials: {{a: {{type: bearer, token: {NEEDLE}}}}}",
    f"credentials: {{a: {{type: header, name: X, vlaue: 1, value: {NEEDLE}}}}}",
    f"credentials:\n  a:\n    type: header\n    value: {NEEDLE}: x",
    f"credentials:\n  a: {{type: query, value: {NEEDLE}, valu: {NEEDLE}}}",
    f"credentials: {{a: {{type: basic, username: a, password: [{NEEDLE}]}}}}",
]


def report(path: Path, output: str, capsys: pytest.CaptureFixture[str], env: dict[str, str] | None = None) -> str:
    code = run_check([path], strict=False, print_effective=True, output=output, env=env or {})
    printed = capsys.readouterr()
    assert code == 1, printed.out
    assert "error" in printed.out
    return printed.out + printed.err


@pytest.mark.parametrize("output", list(Output))
@pytest.mark.parametrize("text", [*SETTINGS, *POLICIES])
def test_no_report_repeats_it(text: str, output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"version: 1\n{text}\n")
    assert NEEDLE not in report(path, output, capsys)


@pytest.mark.parametrize("output", list(Output))
@pytest.mark.parametrize(
    "env",
    [
        {"GATEWAY_ADMIN_TOKEN": NEEDLE},
        {"GATEWAY_ADMIN_TOKN": f"{NEEDLE}-with-16-characters"},
        {"GATEWAY_STORE__URL": f"redis://:{NEEDLE}@h:port"},
        {"GATEWAY_STORE__URL": f":{NEEDLE}"},
        {"GATEWAY_STORE__PASSWORD": NEEDLE},
        {"GATEWAY_WORKERS": "env:S3", "S3": NEEDLE},
    ],
)
def test_nor_when_it_is_in_the_environment(
    env: dict[str, str], output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("version: 1\nlisten: 127.0.0.1:8080\n")
    assert NEEDLE not in report(path, output, capsys, env)


@pytest.mark.parametrize(
    "line", ["[" * 200_000 + "]" * 200_000, "x: " + "a" * 400_000, f"token: {NEEDLE}{'a' * 2000}: x"]
)
def test_a_very_long_line_is_not_searched_and_not_repeated(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looking for secrets takes time by the square of what is looked at: minutes here."""
    path = tmp_path / "p.yaml"
    path.write_text(line)
    told = report(path, "text", capsys)
    assert "p.yaml:1:" in told
    assert len(told) < 2000
    assert NEEDLE not in told
