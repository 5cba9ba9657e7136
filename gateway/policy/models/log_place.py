"""Where lines of the log go: a word, or the path of a file that nobody takes for one."""

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from gateway.policy.findings import quoted
from gateway.policy.models.scalars import Unfit, expect_text
from gateway.policy.words import did_you_mean

WORDS = ("stdout", "stderr", "off")


def parse_log_place(value: object) -> str:
    """`stdout`, `stderr`, `off` or a path. A file whose name is one word (`none`) is written `./none`."""
    expected = "stdout, stderr, off or the path of a file"
    text = expect_text(value, expected)
    if text in WORDS or "/" in text or "." in text:
        return text
    hint = did_you_mean(text, WORDS)
    other = f"a file of this name: ./{text}" if text else ""
    raise Unfit("bad-log-place", f"expected {expected}, got {quoted(text)}", hint if hint.startswith("did") else other)


LogPlace = Annotated[
    str,
    BeforeValidator(parse_log_place),
    WithJsonSchema(
        {"anyOf": [{"enum": list(WORDS)}, {"type": "string", "title": "Path of a file", "pattern": "[./]"}]}
    ),
]
