"""Where the settings are when nobody says."""

from pathlib import Path

CONFIG = "config/gateway.yaml"


def config_file() -> Path:
    """`./config/gateway.yaml` if there is one (a checkout, a deployment directory), else the one that is shipped."""
    from gateway.policy.shipped import shipped

    here = Path(CONFIG)
    return here if here.is_file() else shipped(CONFIG)
