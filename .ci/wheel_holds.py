#!/usr/bin/env python3
"""Whether a wheel has all that the program reads: every file of gateway/, settings, schemas and policies beside them.

.ci/wheel_holds.py dist/ratelimit_gateway-*.whl
"""

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def wanted() -> set[str]:
    """Names that must be in it."""
    sources = [path for path in (ROOT / "gateway").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    policies = [path for path in (ROOT / "policies").rglob("*") if path.is_file()]
    return {
        *(str(path.relative_to(ROOT)) for path in sources),
        *(f"gateway/shipped/{path.relative_to(ROOT)}" for path in policies),
        "gateway/shipped/config/gateway.yaml",
        "gateway/shipped/config/gateway.schema.json",
        "gateway/shipped/config/deploy/grafana-dashboard.json",
    }


def main() -> None:
    names = wanted()
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        held = set(wheel.namelist())
        metadata = next(wheel.read(name).decode() for name in held if name.endswith("/METADATA"))
    if missing := sorted(names - held):
        sys.exit(f"not in the wheel: {', '.join(missing)}")
    if foreign := sorted(name for name in held if not name.startswith(("gateway/", "ratelimit_gateway-"))):
        sys.exit(f"what does not belong into it: {foreign}")
    told = [line for line in metadata.splitlines() if line.startswith(("Name:", "Version:", "License-Expression:"))]
    sys.stdout.write(f"{len(held)} files; {'; '.join(told)}\n")


if __name__ == "__main__":
    main()
