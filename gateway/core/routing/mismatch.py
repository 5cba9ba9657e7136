"""Why conditions do not hold: the first that fails, in words for people. Holds exactly when `match` matches."""

from collections.abc import Mapping

from gateway.core.policy import Match, PathPattern
from gateway.core.routing.match import host_matches, match_path


def mismatch(match: Match, method: str, host: str, path: str, headers: Mapping[str, str]) -> str | None:
    """What speaks against a match; None = nothing. Arguments as for `match.find_route`."""
    if match.methods and method not in match.methods:
        return f"the method is not {' or '.join(sorted(match.methods))}"
    if match.host is not None and not host_matches(match.host, host):
        return f"the host is not {match.host}"
    if match.path is not None and match_path(match.path, path, path.split("/")) is None:
        return f"the path is not {path_text(match.path)}"
    for name, wanted in match.headers:
        value = headers.get(name)
        if value is None:
            return f"the header {name} is missing"
        if wanted is not None and value != wanted:
            return f"the header {name} is not {wanted}"
    return None


def path_text(path: PathPattern) -> str:
    """A path condition as it is written in policies, a prefix with `**` behind it."""
    return path.prefix + "**" if path.prefix is not None else "/" + "/".join(path.segments or ())
