"""What docs/credentials.md shows can be loaded."""

import re
from pathlib import Path

from gateway.policy import check

TEXT = (Path(__file__).parents[2] / "docs" / "credentials.md").read_text()


def test_each_snippet_is_a_set_without_fault(directory: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        file = directory / f"{number}.yaml"
        secret = directory / "secret"
        secret.write_text("s3cr3t")
        file.write_text(re.sub(r"file:/[\w/.-]+", f"file:{secret}", block))
        names = re.findall(r"env:([A-Z0-9_]+)", block)
        report = check([file], env={**dict.fromkeys(names, "s3cr3t"), "GATEWAY_TOKEN_KEYS": "A" * 43 + "="})
        assert (report.errors, report.warnings) == ((), ())
