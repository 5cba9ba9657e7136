"""Where settings and policies are read from, so that a running gateway reads the same places again."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateway.core.policy import PolicySet
from gateway.policy.files import STDIN, is_pipe, policy_files, shown
from gateway.policy.findings import Findings, PolicyError, PolicyErrors
from gateway.settings import Settings

Stamp = tuple[tuple[str, tuple[int, ...]], ...]
"""What can be seen of files without reading them."""


class Reading(NamedTuple):
    """What the places say. Both None exactly when there are errors."""

    settings: Settings | None
    policies: PolicySet | None
    errors: tuple[PolicyError, ...] = ()
    warnings: tuple[PolicyError, ...] = ()


@dataclass(frozen=True)
class Sources:
    """The places.

    config       the settings file; None = where it is by default
    options      settings given on the command line, by dotted key
    environment  gives the variables that settings and secrets may refer to. Raises PolicyErrors
    upstream     URL in front of which the shipped policy is put instead of the settings' policies; "" = none
    beside       files that are read by `environment`
    began        the settings as they were read at the start
    """

    config: Path | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    environment: Callable[[], Mapping[str, str]] = dict
    upstream: str = ""
    beside: tuple[Path, ...] = ()
    began: Settings = field(default_factory=Settings)

    def settings(self) -> Settings:
        """The settings. Raises PolicyErrors."""
        from gateway.policy.settings_file import load_settings

        return load_settings(self.config, self.environment(), self.options)

    def policies(self, settings: Settings) -> PolicySet:
        """The policies that these settings name. Raises PolicyErrors."""
        from gateway.policy import load, load_default

        return load_default(self.upstream) if self.upstream else load([settings.policies], env=self.environment())

    def read(self) -> Reading:
        """Everything, and everything that is wrong with it. Takes as long as files are big: not for an event loop."""
        from gateway.policy import check
        from gateway.policy.shipped import shipped

        if self.config is not None and _gone_once_read(self.config):
            return _not_again(self.config)
        try:
            settings, env = self.settings(), self.environment()
        except PolicyErrors as wrong:
            return Reading(None, None, wrong.errors, wrong.warnings)
        if not self.upstream and _gone_once_read(settings.policies):
            return _not_again(settings.policies)
        places = [shipped("policies/default.yaml")] if self.upstream else [settings.policies]
        report = check(places, upstream_url=self.upstream or None, env=env)
        usable = settings if report.policies is not None else None
        return Reading(usable, report.policies, report.errors, report.warnings)

    def stamp(self, settings: Settings, policies: PolicySet | None = None) -> Stamp:
        """Changes whenever one of the files does: saved in place, replaced by another, or behind another link.

        policies  in force: the files that they name are looked at too
        """
        files = (*self._files(settings), *map(Path, policies.beside if policies is not None else ()))
        return tuple((str(path), _stamp(path)) for path in files)

    def _files(self, settings: Settings) -> Iterator[Path]:
        from gateway.policy.settings_file import default_path

        yield self.config or default_path()
        yield from self.beside
        if not self.upstream:
            yield settings.policies
            with suppress(OSError):
                yield from policy_files([settings.policies], Findings())


def _gone_once_read(path: Path) -> bool:
    return path == STDIN or is_pipe(path)


def _not_again(path: Path) -> Reading:
    message = "a pipe cannot be read a second time"
    return Reading(None, None, (PolicyError(shown(path), 0, 0, "unreadable", message),))


def _stamp(path: Path) -> tuple[int, ...]:
    """Of what a link leads to."""
    try:
        seen = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_mode
