"""Logs and metrics of all services. Logs are structured and hold references, counts and codes, never names, addresses or texts."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog
from prometheus_client import Counter, Gauge, Histogram

ARRIVED = Counter("desk_arrivals_total", "What came in, by adapter and what became of it.", ["adapter", "outcome"])
DECIDED = Counter(
    "desk_decisions_total", "Complaints decided, by category, priority and department.", ["category", "priority", "department"]
)
SENT = Counter("desk_notices_total", "Attempts to tell the customer, by source and how they ended.", ["source", "state"])
ROUTING = Histogram("desk_routing_seconds", "From receipt to the department's queue.", buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60, 600))
TELLING = Histogram("desk_telling_seconds", "From a notice's making to its being taken.", buckets=(0.03, 0.1, 0.3, 1, 2, 5, 15, 60, 600))
WAITING = Gauge("desk_outbox_waiting", "Outbox entries that Redis has not taken in time.")
QUEUED = Gauge("desk_queue_items", "Items in a department's queue, by place.", ["department", "place"])
HELD = Gauge("desk_quarantine_held", "Things in quarantine that nobody has looked at.")
MAILBOX_GAP = Gauge("desk_mailbox_gap", "Mails in a mailbox that no outcome accounts for.", ["account", "folder"])


class _Unfailing:
    """Standard error whose writing never fails: a full disk under the logs must not stop the work they tell of."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure_logging(level: str, form: str) -> None:
    """Log to standard error as JSON lines, or readable for people (form 'console')."""
    renderer = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping().get(level.upper(), logging.INFO)),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Unfailing())),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("arq").setLevel(logging.WARNING)  # it writes two lines of its own for each sweep, every few seconds
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells whole addresses, and some platforms put their secret into it
