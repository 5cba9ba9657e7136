"""Messages of libraries (standard logging, warnings) in the gateway's own lines."""

import logging
from typing import Any

import structlog
from structlog.typing import EventDict

from gateway.observe.log.chain import Chain
from gateway.observe.log.writer import LineWriter


class Bridge:
    """Takes over the root logger of the standard library while installed."""

    def __init__(self) -> None:
        self._handler: _Handler | None = None
        self._old_level = logging.WARNING

    def install(self, chain: Chain, writer: LineWriter, level: int) -> None:
        """Send every message of at least `level` to `writer`. Replaces an earlier installation."""
        self.uninstall()
        root = logging.getLogger()
        handler = self._handler = _Handler(writer)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[_add_logger, *chain.prepare], processors=[_without_meta, chain.render, _as_text]
            )
        )
        handler.addFilter(calm)
        handler.setLevel(level)
        self._old_level = root.level
        root.addHandler(handler)
        root.setLevel(max(level, logging.INFO))
        logging.captureWarnings(True)

    def uninstall(self) -> None:
        """Give the root logger back. Idempotent."""
        if self._handler is None:
            return
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.setLevel(self._old_level)
        logging.captureWarnings(False)
        self._handler = None


class _Handler(logging.Handler):
    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # a message whose arguments do not fit its format is not worth a crash
            record.msg, record.args, record.exc_info = "Unprintable message", None, None
            line = self.format(record)
        self._writer.write(line.encode())
        self._writer.flush()


def calm(record: logging.LogRecord) -> bool:
    """Not every broken request is an error: what a peer did wrong becomes one info line without a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and type(error).__module__ == "aiohttp.http_exceptions":
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = f"Malformed request: {type(error).__name__}", None
        record.exc_info = record.exc_text = None
    return True


def _add_logger(_logger: Any, _level: str, line: EventDict) -> EventDict:
    record: logging.LogRecord = line["_record"]
    line["logger"] = record.name
    return line


def _without_meta(_logger: Any, _level: str, line: EventDict) -> EventDict:
    line.pop("_record", None)
    line.pop("_from_structlog", None)
    return line


def _as_text(_logger: Any, _level: str, line: Any) -> str:
    """A formatter must return text."""
    return bytes(line).decode()
