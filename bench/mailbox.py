"""Mails a second from a real Dovecot to the ledger: one intake process, SQLite, Chinese mails of 7 KB with a small picture.

A mail counts when its outcome is in the ledger, in the transaction that moves the mailbox's position on. The yardsticks run beside it:
fetching the same mailbox without looking at the mails, and reading one of the mails again and again on one core.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imapclient import IMAPClient

from bench.figure import Figure, Size
from bench.mail_parse import ordinary_mail, rate
from bench.world import World, until
from services.intake.mail.read import read_mail

if TYPE_CHECKING:
    from tests.mail.dovecot import Dovecot

TARGET = 800.0
BATCH = 50
LONGEST = 600.0


def measure(size: Size) -> list[Figure]:
    """No figures where Dovecot is not installed. --long: a mailbox of 100,000 mails."""
    if shutil.which("dovecot") is None:
        return []
    mails = size.flat_after if size.flat_after > 50_000 else size.complaints
    with a_dovecot() as server:
        fill(server, mails)
        fetched = fetch_all(server, mails)
        took, cpu, memory, again = take_all(server, mails)
    note = f"{mails:,} mails of {len(ordinary_mail()):,} bytes, {cpu / mails * 1e6:,.0f} us of processor each, {memory:,.0f} MB at the end"
    alone = rate(lambda: read_mail(ordinary_mail_once), size.seconds)
    return [
        Figure(part="mailbox", name="read a mail, one core", value=alone, unit="/s"),
        Figure(part="mailbox", name="fetch only, batches of 50", value=fetched, unit="/s"),
        Figure(part="mailbox", name="Dovecot to ledger", value=mails / took, unit="/s", target=TARGET, note=note),
        Figure(part="mailbox", name="count against the server", value=again, unit="s", note="what the reconciliation costs once a day"),
    ]


ordinary_mail_once = ordinary_mail()


@contextmanager
def a_dovecot() -> Iterator[Dovecot]:
    from tests.mail.dovecot import running

    with running() as server:
        yield server


def fill(server: Dovecot, mails: int) -> None:
    """Lay the mails into the Maildir as a delivery agent would, each with its own sender, number and text."""
    with server.login("care") as client:
        client.select("INBOX")
    inbox = server.base / "mail" / "care" / "Maildir"
    owner = inbox.stat()
    template = ordinary_mail().replace(b"\r\n", b"\n")
    for number in range(mails):
        raw = template.replace(b"20260301100211.7f3a", b"bench%d.7f3a" % number).replace(b"zhang.xm@", b"zhang%d@" % number)
        path = inbox / "new" / f"{1_700_000_000 + number}.M{number}P1.bench,S={len(raw)}"
        path.write_bytes(raw)
        os.chown(path, owner.st_uid, owner.st_gid)


def fetch_all(server: Dovecot, mails: int) -> float:
    """Mails a second when nobody looks at them; the server's caches are warm afterwards, for both."""
    with IMAPClient(server.host, port=server.port, ssl=False) as client:
        client.login("care", server.password)
        client.select_folder("INBOX", readonly=True)
        uids = client.search("ALL")
        if len(uids) != mails:
            raise RuntimeError(f"Dovecot sees {len(uids)} of {mails} mails")
        some = uids[:5000]
        begun = time.perf_counter()
        for at in range(0, len(some), BATCH):
            client.fetch(some[at : at + BATCH], ["BODY.PEEK[]", "INTERNALDATE", "RFC822.SIZE"])
        return len(some) / (time.perf_counter() - begun)


def take_all(server: Dovecot, mails: int) -> tuple[float, float, float, float]:
    """Seconds from the first outcome to the last, processor seconds, MB in RAM at the end, seconds of one whole comparison."""
    box = {"host": server.host, "port": server.port, "user": "care", "password": server.password, "ssl": False, "start": "all"}
    with World(("intake",), environ={"DESK_MAILBOXES": json.dumps([box])}) as world:
        ledger = world.home / "ledger.sqlite3"
        until(lambda: outcomes(ledger) > 0, "the first mail in the ledger", every=0.005)
        first, begun, cpu = outcomes(ledger), time.perf_counter(), world.cpu_seconds("intake")
        until(lambda: outcomes(ledger) >= mails, "all mails in the ledger", within=LONGEST, every=0.1)
        took = (time.perf_counter() - begun) * mails / (mails - first)
        used, memory = world.cpu_seconds("intake") - cpu, world.resident_mb("intake")
        compared = compare(world, mails)
    return took, used, memory, compared


def compare(world: World, mails: int) -> float:
    """Seconds of one reconciliation, in a process of its own."""
    import asyncio

    from services.intake.mail_sources import LedgerState, peek, read_mailboxes
    from shared.ledger import Ledger

    async def once() -> float:
        ledger = Ledger.open(world.ledger_url)
        try:
            (options,) = read_mailboxes(world.environ()["DESK_MAILBOXES"])
            begun = time.perf_counter()
            standing = await peek(options, LedgerState(ledger)).standing()
            took = time.perf_counter() - begun
        finally:
            await ledger.close()
        if standing.missing or standing.ours != mails:
            raise RuntimeError(f"{len(standing.missing)} mails are missing, {standing.ours} of {mails} are ours")
        return took

    return asyncio.run(once())


def outcomes(ledger: Path) -> int:
    """How far the mailbox is settled. Reads one row, so that looking costs the intake nothing."""
    try:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT last_uid - start_uid FROM mailboxes").fetchone()
    except sqlite3.Error:  # not migrated yet
        return 0
    return int(row[0]) if row else 0
