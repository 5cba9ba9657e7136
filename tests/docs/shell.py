"""Types what a page says, from top to bottom, in a directory of its own: as somebody would who reads it."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from tests.cli.command import gateway
from tests.docs import spoken_of
from tests.docs.alike import alike
from tests.docs.pages import ROOT, Command
from tests.fakes.nursery import Child, Nursery
from tests.fakes.ports import free_port
from tests.fakes.waiting import until

DEADLINE_S = 120
"""For whatever it waits for: on a machine that does much else, too."""
Running = subprocess.Popen[bytes] | Child
ADDRESS = re.compile(r"\b(127\.0\.0\.1|localhost):(\d{4,5})\b")
ASKS = re.compile(
    r"(127\.0\.0\.1|localhost):(8080|9090)|gateway (reload|healthcheck|status|limits|breaker|connections|drain)\b|--(live|running)\b"
).search
"""Commands that somebody must answer."""
OWN = {8080: "GATEWAY_LISTEN", 9090: "GATEWAY_ADMIN"}
SETTLES = re.compile(r"grep |gateway (connections|status|top|limits show)\b").match
"""Commands that look at what is written or reported a moment after a call."""
PLAIN = re.compile(r"gateway [^|&;$`]*").fullmatch
SERVES = re.compile(r"((?:\w+=\S+ )*)gateway (run[^|&;$`<>]*)").fullmatch
BACKGROUND = re.compile(r"(\w+=\S+ )*gateway run\b|.*&$").match


class Shell:
    """Where one page is tried. Ports of the page become free ones, the same in files and commands.

    nursery  where its gateways are born; None: they start as they do for who reads the page
    """

    def __init__(self, place: Path, runtime: Path, nursery: Nursery | None = None) -> None:
        self.place = place
        self.nursery = nursery
        self.ports: dict[str, str] = {}
        self.running: list[Running] = []
        self.serving: Running | None = None
        for name in ("config", "policies"):
            shutil.copytree(ROOT / name, place / name)
        self.env = {
            "PATH": f"{self._programs()}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(runtime),
            "NO_PROXY": "*",
            "GATEWAY_DRAIN__DELAY": "0s",
            "LC_ALL": "C.UTF-8",
        } | {name: f"127.0.0.1:{self.port(str(port))}" for port, name in OWN.items()}

    def _programs(self) -> Path:
        """A directory with `gateway` and `python3`: those under test."""
        directory = self.place / ".bin"
        directory.mkdir()
        for name, words in (("gateway", "-m gateway"), ("python3", "")):
            (directory / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            (directory / name).chmod(0o755)
        return directory

    def port(self, told: str) -> str:
        if told not in self.ports:
            self.ports[told] = str(free_port())
        return self.ports[told]

    def here(self, text: str) -> str:
        """A text of the page with the ports of this run; paths of its `/etc` and `/run` in this directory."""
        text = re.sub(r"(?<=file:)/(?=(run|etc)/)", f"{self.place}/", text)
        return ADDRESS.sub(lambda found: f"{found[1]}:{self.port(found[2])}", text)

    def there(self, text: str) -> str:
        """What was printed, with the ports of the page."""
        for told, used in self.ports.items():
            text = text.replace(f":{used}", f":{told}")
        return text.replace(f"{self.place}/", "")

    def write(self, name: str, text: str) -> None:
        """A file that the page shows."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(text))

    def type(self, command: Command) -> None:
        """Run one command; its exit code and what it prints are as the page says. Raises AssertionError."""
        if spoken_of.check(command.text):
            return
        if BACKGROUND(command.text):
            self._begin(command.text.removesuffix("&"))
            return
        if self.serving is None and ASKS(command.text):
            self._begin("gateway run -q")
        wrong = self._wrong(command)
        if wrong and SETTLES(command.text):
            until(lambda: not self._wrong(command), wrong, gap_s=0.05, within_s=DEADLINE_S)
        else:
            assert not wrong, wrong

    def _wrong(self, command: Command) -> str:
        """What is not as the page says."""
        code, out = self._run(self.here(command.text))
        wanted = int(found[1]) if (found := re.search(r"exit code (\d)", command.note)) else 0
        out = self.there(out)
        if code != wanted:
            return f"{command.text}\nended with {code}, not {wanted}:\n{out}"
        return "" if not command.told.strip() or alike(command.told, out) else f"{command.text}\nprinted\n{out}"

    def _run(self, text: str) -> tuple[int, str]:
        """(exit code, output). Plain `gateway` commands need no process."""
        if PLAIN(text):
            words, _, target = text.partition(" > ")
            words, _, source = words.partition(" < ")
            typed = (self.place / source.strip()).read_text() if source else ""
            done = gateway(*shlex.split(words)[1:], stdin=typed, env=self.env)
            if target:
                (self.place / target.strip()).write_text(done.stdout)
                return done.returncode, done.stderr
            return done.returncode, done.stdout + done.stderr
        ran = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {text}"],
            cwd=self.place,
            env=self.env,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            check=False,
        )
        return ran.returncode, ran.stdout.decode() + (ran.stderr.decode() if ran.returncode else "")

    def _begin(self, command: str) -> None:
        """Something that keeps running: a gateway takes the place of the one before it."""
        serves = "gateway run" in command
        if serves and self.serving is not None:
            self._end(self.serving)
        text = self.here(command)
        path = self.place / f"{len(self.running)}.out"
        with path.open("wb") as out:
            process = self._start(text, out)
        self.running.append(process)
        if serves:
            self.serving = process
            self._until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{self.port('9090')}/readyz"), process, path)
        elif address := ADDRESS.search(text):
            self._until(lambda: socket.create_connection(("127.0.0.1", int(address[2]))), process, path)

    def _start(self, text: str, out: IO[bytes]) -> Running:
        streams: dict[str, Any] = {"cwd": self.place, "stdout": out, "stderr": out}
        if self.nursery and (plain := SERVES(text)):
            env = dict(word.split("=", 1) for word in shlex.split(plain[1]))
            return self.nursery.gateway(*shlex.split(plain[2]), env={**self.env, **env}, **streams)
        words = ["bash", "-c", f"exec env {text}"]
        return subprocess.Popen(words, env=self.env, stdin=subprocess.DEVNULL, **streams)

    def _until(self, reach: Callable[[], AbstractContextManager[object]], process: Running, out: Path) -> None:
        """Wait for something that has just been started."""

        def reached() -> bool:
            assert process.poll() is None, out.read_text()
            with reach():
                return True

        until(reached, gap_s=0.02, within_s=DEADLINE_S)

    def _end(self, process: Running) -> None:
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE_S)

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()
