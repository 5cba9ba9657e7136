"""The load: wrk from Debian, told what to send by a short script."""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass

from benchmarks.programs import Failed

_REPORT = """
done = function(summary, latency)
  io.write(string.format('@@{"calls":%d,"us":%d,"p50_us":%d,"p99_us":%d,"not_2xx":%d,"broken":%d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""
_SAME = """
local head = 'GET /v1/items?x=1 HTTP/1.1\\r\\nHost: api.example.com\\r\\nX-Tenant: t1\\r\\nX-Connection: c1\\r\\n\\r\\n'
request = function() return head end
"""
_NUMBERED = """
local number, run = 0, os.time() % 0x10000
math.randomseed(os.time())
"""
"""What was sent when a peer was warmed up does not come again: it may remember that."""
_VARIED = (
    _NUMBERED
    + """
request = function()
  number = number + 1
  local tenant = math.random(TENANTS)
  return string.format('GET /v1/items/%04x%08d?page=%d HTTP/1.1\\r\\nHost: api.example.com\\r\\n'
    .. 'User-Agent: integration/4.2 (+https://example.com)\\r\\nAccept: application/json\\r\\n'
    .. 'Accept-Encoding: gzip, deflate, br\\r\\nX-Tenant: t%d\\r\\nX-Connection: c%d\\r\\n'
    .. 'X-Request-Id: req-%04x-%012d\\r\\n'
    .. 'traceparent: 00-0af7651916cd43dd%04x%012x-b7ad%012x-01\\r\\n\\r\\n',
    run, number, number, tenant, tenant, run, number, run, number, number)
end
"""
)
_CHOSEN = (
    _NUMBERED
    + """
local body = string.rep('x', UP_BYTES)
local content = UP_BYTES > 0 and 'Content-Length: ' .. UP_BYTES .. '\\r\\n' or ''
request = function()
  number = number + 1
  local tenant = math.random(TENANTS)
  return string.format('%s /%s?call=%04x%08d HTTP/1.1\\r\\nHost: api.example.com\\r\\n'
    .. 'X-Tenant: t%d\\r\\nX-Connection: c%d\\r\\n%s\\r\\n%s',
    METHOD, string.format(PATH, math.random(ROUTES) - 1), run, number, tenant, tenant, content, body)
end
"""
)


@dataclass(frozen=True)
class Load:
    """What callers send.

    script    the wrk script without its report
    callers   keep-alive connections
    cores     where wrk runs
    pause_ms  between an answer and its caller's next call, on average
    """

    script: str
    callers: int = 64
    cores: str = "1"
    pause_ms: int = 0

    def run(self, port: int, seconds: float) -> dict[str, int]:
        """Drive keep-alive connections: each sends its next call when it has its answer and has paused.

        calls, us (duration), p50_us, p99_us, not_2xx, broken (connections). Raises Failed.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(self.script + _REPORT)
            if self.pause_ms:
                script.write(f"delay = function() return math.random(0, {2 * self.pause_ms}) end\n")
            script.flush()
            command = ["taskset", "-c", self.cores, "wrk", "-t1", f"-c{self.callers}", "--timeout", "5s"]
            command += [f"-d{max(1, round(seconds))}s", "-s", script.name, f"http://127.0.0.1:{port}/"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        found = re.search(r"@@(\{.*\})", done.stdout)
        if found is None:
            raise Failed(f"wrk said: {done.stdout[-300:]} {done.stderr[-300:]}")
        result: dict[str, int] = json.loads(found[1])
        return result


SAME = Load(_SAME)
"""One head, again and again: what load generators send when nobody tells them otherwise."""


def varied(tenants: int = 100) -> Load:
    """What real callers send: no two heads alike. Path, request id and trace differ, tenants come in random order."""
    return Load(_VARIED.replace("TENANTS", str(tenants)))


def chosen(*, tenants: int = 1, routes: int = 1, up_bytes: int = 0, path: str = "v1/items") -> Load:
    """No two heads alike, and otherwise what is asked for. `path` may contain `%d`, the number of the route."""
    values = {
        "TENANTS": tenants,
        "ROUTES": routes,
        "UP_BYTES": up_bytes,
        "METHOD": "'POST'" if up_bytes else "'GET'",
        "PATH": f"'{path}'",
    }
    script = _CHOSEN
    for name, value in values.items():
        script = re.sub(rf"\b{name}\b", str(value), script)
    return Load(script)
