"""Logging: one line an event on standard error, no secrets."""

import logging
import sys
import time
from typing import Final

NOISY: Final = ("httpx2", "httpcore2", "websocket")


class OneLine(logging.Formatter):
    """Keeps an event, its traceback included, on one line."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " ⏎ ")


def set_up() -> None:
    """Send every event from INFO up to standard error; libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
