"""Settings and policies for commands, with every problem told as lines on stderr and exit code 1."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.command.failing import FAILED, fail
from gateway.cli.files.env_file import BadEnvFile, environment

if TYPE_CHECKING:
    from gateway.core.policy import PolicySet
    from gateway.policy.sources import Sources
    from gateway.settings import Settings


def read_settings(config: Path | None, env_file: Path | None, overrides: Mapping[str, object]) -> "Settings":
    """The settings of `config` (None: of the place where they are by default) under environment and `overrides`."""
    from gateway.policy.settings_file import load_settings

    with told():
        return load_settings(config, environment(os.environ, env_file), overrides)


def read_environment(env_file: Path | None) -> Mapping[str, str]:
    """The variables of this process and of the `.env` file."""
    with told():
        return environment(os.environ, env_file)


def read_policies(settings: "Settings", env_file: Path | None, upstream: str) -> "PolicySet":
    """The policies the settings name; with an `upstream` URL, the shipped default policy in front of it."""
    from gateway.policy import load, load_default
    from gateway.policy.settings_file import policies_of

    with told():
        env = environment(os.environ, env_file)
        return load_default(upstream) if upstream else load([policies_of(settings)], env=env)


def read_chosen(config: Path | None, env_file: Path | None, policies: Path | None) -> "tuple[Settings, PolicySet]":
    """Settings, and the policies that they or `policies` name, for commands that only look at them."""
    settings = read_settings(config, env_file, {"policies": policies} if policies else {})
    return settings, read_policies(settings, env_file, "")


def read_plain(path: Path) -> dict[str, Any]:
    """Policy files put together as one document, for a gateway to check; only what makes them unreadable is told."""
    from gateway.policy import PolicyErrors
    from gateway.policy.findings import Findings
    from gateway.policy.gather import gather, plain

    findings = Findings()
    with told():
        draft = gather([path], findings)
        if not draft.complete:
            raise PolicyErrors(findings.sorted_errors(), ())
    return plain(draft)


def sources_of(config: Path | None, env_file: Path | None, options: Mapping[str, object], upstream: str) -> "Sources":
    """Where `read_settings` and `read_policies` read, for a gateway that reads it again while it runs."""
    from gateway.policy.sources import Sources

    def environ() -> Mapping[str, str]:
        from gateway.policy import PolicyError, PolicyErrors

        try:
            return environment(os.environ, env_file)
        except BadEnvFile as error:
            raise PolicyErrors([PolicyError(str(env_file or ".env"), 0, 0, "bad-env-file", str(error))]) from error

    return Sources(config, options, environ, upstream, beside=(env_file or Path(".env"),))


@contextmanager
def told() -> Iterator[None]:
    """Turn what is wrong with files into messages."""
    from gateway.policy import PolicyErrors

    try:
        yield
    except BadEnvFile as error:
        fail(FAILED, str(error))
    except PolicyErrors as invalid:
        from gateway.cli.showing.findings import excerpt

        count = len(invalid.errors)
        what = f"{count} problems" if count > 1 else "one problem"
        lines = (line for error in invalid.errors for line in (str(error), *excerpt(error)))
        fail(FAILED, f"{what} in the configuration", *lines)
