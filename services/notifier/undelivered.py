"""What follows when a letter can never arrive: a dead address is left alone, the customer told another way once, the department shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.complaint import Complaint, Event, Notice, State, decode_submission
from shared.errors import Undeliverable
from shared.ledger import complaints, customers, notices, outbox, work
from shared.ledger.outbox import Entry, Topic
from shared.lifecycle import WITH_DEPARTMENT
from shared.reach import another_way


async def tell_another_way(
    tx: AsyncConnection, failed: Sequence[tuple[Notice, Undeliverable]], now: datetime, unusable_for: timedelta
) -> list[Entry]:
    """Store what follows from each; the outbox entries to hand on after the commit. Raises Raced where a complaint changed meanwhile."""
    entries: list[Entry] = []
    known = await complaints.get_many(tx, sorted({notice.reference for notice, _ in failed}))
    for notice, error in sorted(failed, key=lambda pair: pair[0].key):
        if (complaint := known.get(notice.reference)) is None:
            continue
        dead = notice.source == "email" and error.lasting
        if dead:
            await customers.mark_unusable(tx, "email", notice.recipient, now + unusable_for, error.message[:300])
        other = await _other(tx, complaint, notice, now, dead)
        # the relay's words may hold the address, so the history gets only what followed; the notice itself keeps the reason
        detail: dict[str, Any] = {"notice": notice.key, **({"address_unusable": True} if dead else {})}
        detail |= {"next": other.source} if other else {"untold": "no other way to reach the customer"}
        changed = msgspec.structs.replace(complaint, version=complaint.version + 1)
        known[complaint.reference] = changed
        with_department = complaint.state in (*WITH_DEPARTMENT, State.RESOLVED)
        await complaints.add_events(tx, [Event(complaint.reference, changed.version, now, "undeliverable", "notifier", detail)])
        opened: Mapping[str, Any] = {} if other or not with_department else {complaint.reference: {"work": "open", "work_reason": ""}}
        await complaints.save(tx, [(complaint.version, changed)], work=opened)
        if other:
            await notices.add(tx, [other])
            entries.append(Entry(f"notice/{other.key}", Topic.NOTICE, other.key))
        if with_department:
            entries.append(Entry(f"assigned/{complaint.reference}/{changed.version}", Topic.ASSIGNED, complaint.reference))
    await outbox.add(tx, entries, now)
    return entries


async def _other(tx: AsyncConnection, complaint: Complaint, notice: Notice, now: datetime, dead: bool) -> Notice | None:
    said = [decode_submission(body) for body in (await complaints.bodies(tx, [complaint.reference])).get(complaint.reference, ())]
    owned = await customers.get(tx, complaint.customer_id)
    verified = [i for i in owned[1] if i.verified] if owned else []
    identities = {(i.kind, i.value) for i in (*verified, *(i for s in said for i in s.customer.identities))}
    unusable = set(await work.unusable(tx, identities, now))
    if dead:
        unusable.add(("email", notice.recipient))
    other = another_way(notice, said, verified, unusable, now=now)
    if other is None or any(shown.notice.key == other.key for shown in await notices.of_complaint(tx, complaint.reference)):
        return None
    return other
