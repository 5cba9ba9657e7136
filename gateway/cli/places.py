"""Where the configuration is when nobody says: the working directory, else what the package ships."""

from pathlib import Path

import gateway

CONFIG = Path("config") / "gateway.yaml"


def config_file() -> Path:
    """`./config/gateway.yaml` if there is one (a checkout, a deployment directory), else the shipped defaults."""
    return CONFIG if CONFIG.is_file() else shipped() / CONFIG


def shipped() -> Path:
    """The directory that holds `config/` and `policies/`: inside an installed package, or the checkout around it."""
    package = Path(gateway.__file__).parent
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent
