"""A policy file that is edited while gateways serve by it."""

from pathlib import Path

POLICY = """\
keys:
  tenant: {{from: header, name: X-Tenant-Id, on_missing: reject}}
limits:
  calls: {{algorithm: rolling_window, limit: {limit}, window: 10m, key: [tenant]}}
upstreams:
  sample: {{url: "builtin:echo"}}
routes:
  - {{name: all, match: {{path_prefix: /}}, upstream: sample, limits: [calls]}}
"""


def save(folder: Path, limit: int, policy: str = POLICY) -> None:
    """As a careful editor does: whole, under another name first."""
    (folder / ".new").write_text(policy.format(limit=limit))
    (folder / ".new").rename(folder / "policy.yaml")
