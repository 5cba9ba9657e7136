"""The constants of a Lua text are put in where they are used.

A function that names a local variable of the text around it captures it: the server makes an object for the variable
and throws it away again, in every run. Some twenty constants were a tenth of what a decision costs it.
"""

import re

_LITERAL = r"(?:'[^'\\\n]*'|\d[\dx ^*-]*)"
_DEFINITION = re.compile(rf"^local ([A-Z]\w*(?:, [A-Z]\w*)*) = ({_LITERAL}(?:, {_LITERAL})*)(?: --.*)?$", re.MULTILINE)
_LEAVE = rf"{_DEFINITION.pattern}|--.*|'(?:\\.|[^'\\\n])*'"
_TEXT = re.compile(rf"{_LEAVE}|(?P<name>[\w.:]+)", re.MULTILINE)


def inlined(lua: str) -> str:
    """The text with the value in place of each constant, line by line as it was; definitions stay for who reads it.

    A constant is what a line that begins with `local` and a name in capitals sets to a string or to a number, or to a
    product, power or difference of numbers: the server works that out when it compiles the text. Raises ValueError for
    one that is defined twice.
    """
    values: dict[str, str] = {}
    for names, literals in _DEFINITION.findall(lua):
        for name, literal in zip(names.split(", "), re.findall(_LITERAL, literals), strict=True):
            if name in values:
                raise ValueError(f"{name} is defined twice")
            values[name] = f"({literal.strip()})" if " " in literal.strip() and literal[0] != "'" else literal
    return _TEXT.sub(lambda found: values.get(found["name"], found[0]), lua)
