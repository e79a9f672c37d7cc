"""The notifier service: opens the senders, runs the loops, serves health and metrics."""

from __future__ import annotations

import socket

import msgspec
from litestar import Litestar
from litestar.datastructures import State

from services.http import EXCEPTION_HANDLERS, operations
from services.notifier.compose import DeskIdentity, compose
from services.notifier.deliver import Deliver
from services.notifier.registry import close_senders, find_senders, open_senders
from services.notifier.sender import Letter
from services.notifier.worker import Notifier
from services.process import open_desk, serve
from shared.complaint import Notice
from shared.errors import ConfigError
from shared.settings import Settings


async def main(settings: Settings) -> None:
    """Run until SIGTERM."""
    name = f"notifier-{socket.gethostname()}-{settings.notifier_port}"  # who else had it could not listen on this port
    async with open_desk(settings, consumer=name) as desk:
        by_source = await open_senders(find_senders(), read_sender_settings(settings.senders))
        identity = DeskIdentity(mail_from=settings.mail_from, mail_name=settings.mail_name, public_url=settings.public_url)
        notifier = Notifier(desk)

        def write(notice: Notice) -> Letter:
            return compose(notice, desk=identity, secret=desk.secret)

        deliver = Deliver(
            desk.ledger, by_source, write, notifier.later, holder=name, limits=desk.policy.notices, forward=desk.relay.forward
        )
        state = State({"service": "notifier"})
        app = Litestar(operations(desk), exception_handlers=EXCEPTION_HANDLERS, state=state, openapi_config=None, logging_config=None)
        try:
            loops = {"tell": lambda: notifier.tell(deliver), "timers": lambda: notifier.timers(deliver)}
            await serve(desk, app, (settings.notifier_host, settings.notifier_port), loops)
        finally:
            await close_senders(by_source)


def read_sender_settings(text: str) -> dict[str, dict[str, str]]:
    """DESK_SENDERS: sender -> its settings. Raises ConfigError."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, dict[str, str]])
    except msgspec.DecodeError as error:
        raise ConfigError(
            f'DESK_SENDERS cannot be read: {error}. Write it like {{"smtp": {{"host": "mail.example", "port": "587"}}}}.'
        ) from None
