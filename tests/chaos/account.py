"""The count at the end: every input against the ledger, the queues and what reached the customers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from sqlalchemy import select

from shared.ledger import tables
from tests.chaos.customers import Told
from tests.end_to_end.world import Desk, Outside


class Account(msgspec.Struct, kw_only=True):
    """What the ledger and the peers say of the inputs. `wrong`: each broken promise in words, with the references it is about."""

    complaints: int = 0
    acknowledgements: int = 0
    repeated_mails: int = 0
    uncertain: int = 0
    given_up: int = 0
    wrong: list[tuple[str, list[str]]] = []

    def figures(self) -> str:
        return (
            f"{self.complaints} complaints, {self.acknowledgements} acknowledgements sent, {self.uncertain} uncertain,"
            f" {self.repeated_mails} mails again under their Message-ID, {self.given_up} given up by WeChat"
        )

    def broken(self, what: str, references: Sequence[str] = ()) -> None:
        self.wrong.append((what, list(references)))


async def settle_up(desk: Desk, world: Outside, told: Sequence[Told]) -> Account:
    """Count everything once. Every input exactly one complaint; one acknowledgement each; receipts that say the same."""
    account = Account()
    async with desk.ledger.read() as tx:
        rows = (await tx.execute(select(tables.submissions.c.reference, tables.submissions.c.role, tables.submissions.c.body))).all()
        references = list((await tx.execute(select(tables.complaints.c.reference))).scalars())
        noticed = (await tx.execute(select(tables.notices.c.reference, tables.notices.c.key, tables.notices.c.state))).all()
    account.complaints = len(references)
    of_order: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        body = msgspec.json.decode(row.body)
        order = next((t.order for t in told if t.order in body.get("text", "")), "")
        of_order.setdefault(order, []).append((row.reference, row.role))
    for t in told:
        _compare(account, t, of_order.get(t.order, []))
    if stray := of_order.get(""):
        account.broken("submissions that no customer wrote", [reference for reference, _ in stray])
    if len(references) != len(told) - account.given_up:
        account.broken(f"{len(told)} inputs made {len(references)} complaints, {account.given_up} were given up by WeChat")
    _notices(account, [(r.reference, r.key, r.state) for r in noticed], references)
    by_order = {order: came[0][0] for order, came in of_order.items() if order}
    _letters(account, world, [t for t in told if t.order in by_order], {r.reference: r.state for r in noticed}, by_order)
    return account


def _compare(account: Account, told: Told, found: Sequence[tuple[str, str]]) -> None:
    name = f"{told.channel} input {told.number} ({told.tries} tries)"
    if not found:
        if told.channel == "wechat" and not told.answered:
            account.given_up += 1  # WeChat tries three times and was never told 200: it is the platform that lost it, and the desk says so
        else:
            account.broken(f"LOST: {name}, order {told.order} of {told.address}, {told.trouble or 'answered'}")
        return
    if len(found) > 1 or found[0][1] != "complaint":
        account.broken(f"DOUBLED: {name} became {[role for _, role in found]}", [reference for reference, _ in found])
    if any(answer != found[0][0] for answer in told.answers):
        account.broken(f"{name} was told {told.answers}, the ledger has", [found[0][0]])


def _notices(account: Account, noticed: Sequence[tuple[str, str, str]], references: Sequence[str]) -> None:
    keys = Counter(reference for reference, _, _ in noticed)
    wrong = [reference for reference in references if keys[reference] != 1]
    if wrong:
        account.broken("not exactly one acknowledgement in the ledger", wrong)
    states = Counter(state for _, _, state in noticed)
    account.acknowledgements, account.uncertain = states["sent"], states["uncertain"]
    unfinished = [reference for reference, _, state in noticed if state not in ("sent", "uncertain")]
    if unfinished:
        account.broken(f"acknowledgements not out: {dict(states)}", unfinished)


def _letters(account: Account, world: Outside, told: Sequence[Told], states: dict[str, str], by_order: dict[str, str]) -> None:
    """What reached the customers: of a mail one Message-ID, of a chat at most one message."""
    ids: dict[str, set[str]] = {}
    for mail in world.relay.mails:
        ids.setdefault(mail.to, set()).add(mail.message_id)
    account.repeated_mails = world.relay.count - len(world.relay.message_ids)
    chats = Counter(message.recipient for platform in (world.wechat, world.telegram) for message in platform.messages)
    for t in told:
        reference = by_order.get(t.order, "")
        state = states.get(reference, "")
        if t.channel in ("wechat", "telegram"):
            count = chats[t.address]
            if count > 1 or (state == "sent" and count != 1):
                account.broken(f"{t.channel} customer {t.number} got {count} messages, the ledger says {state}", [reference])
        elif t.channel != "phone" and len(ids.get(t.address, ())) != 1:
            account.broken(
                f"{t.channel} customer {t.number} got {len(ids.get(t.address, ()))} different mails, the ledger says {state}", [reference]
            )
