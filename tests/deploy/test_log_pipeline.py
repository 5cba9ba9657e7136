"""What `rsyslog.conf` reads is where the systemd unit lets the gateway write."""

import re
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "config" / "deploy"


def test_the_unit_has_the_directory_that_rsyslog_reads_from() -> None:
    read = re.search(r'File="([^"]+)"', (DEPLOY / "rsyslog.conf").read_text(), re.IGNORECASE)
    assert read is not None
    directory = re.search(r"^LogsDirectory=(\S+)$", (DEPLOY / "gateway.service").read_text(), re.MULTILINE)
    assert directory is not None
    assert Path(read[1]).parent == Path("/var/log", directory[1])
