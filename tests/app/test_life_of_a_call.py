"""The stages have the same names, in the same order, in the code, its docstring and the documentation."""

import importlib
import re
from pathlib import Path

import gateway.handle

ROOT = Path(__file__).parents[2]
STAGES = ["accept", "identify", "admit", "forward", "annotate", "settle", "record"]


def test_the_words_are_the_same_everywhere() -> None:
    assert re.findall(r"^## (\w+)$", (ROOT / "docs/life-of-a-call.md").read_text(), re.MULTILINE) == STAGES
    assert " → ".join(STAGES) in (gateway.handle.__doc__ or "")
    for stage in STAGES:
        assert importlib.import_module(f"gateway.{stage}").__doc__


def test_the_code_goes_through_them_in_order() -> None:
    source = (ROOT / "gateway/handle.py").read_text()
    body = source[source.index("async def handle(") : source.index("def left(")]
    calls = [
        body.index(f"{stage}(call") if stage != "accept" else body.index("accept(request")
        for stage in STAGES
        if stage != "annotate"
    ]
    assert calls == sorted(calls)
    assert "annotates" in body
