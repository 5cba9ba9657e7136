"""Environment variables that know which file they are from, if they are from one."""

from collections.abc import Mapping


class Variables(dict[str, str]):
    """Those of the process over those of a file.

    lines  where the file has which: `{"GATEWAY_NAME": ".env:3"}`; of those that the process has it says nothing
    """

    def __init__(self, process: Mapping[str, str], file: Mapping[str, str], lines: Mapping[str, str]) -> None:
        super().__init__({**file, **process})
        self.lines = {name: line for name, line in lines.items() if name not in process}


def place_of(name: str, env: Mapping[str, str]) -> str:
    """How findings and `check --print` name a variable."""
    line = env.lines.get(name) if isinstance(env, Variables) else None
    return f"environment variable {name}" + (f" ({line})" if line else "")
