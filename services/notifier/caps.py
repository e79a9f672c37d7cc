"""How much mail one recipient, or one complaint, may cause: behind all other rules, these end a talk between two machines. Pure.

Only mail that answers mail is counted. A loop runs through mailboxes and nowhere else, and whoever fills in forty forms is no loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from shared.complaint import Channel, Notice
from shared.ledger.notices import Lately
from shared.policy import Notices as Limits


def answers_mail(notice: Notice) -> bool:
    """Whether this notice is a mail about something that came as a mail."""
    return notice.source == "email" and notice.channel is Channel.EMAIL


def over_the_caps(wanted: Sequence[Notice], lately: Lately, limits: Limits) -> dict[str, str]:
    """Key -> why, for those that must not go out now; the earlier ones of a batch use up what is left.

    lately: what went out before, these left out.
    """
    hour = Counter({recipient: sent for recipient, (sent, _) in lately.by_recipient.items()})
    day = Counter({recipient: sent for recipient, (_, sent) in lately.by_recipient.items()})
    about = Counter(lately.by_complaint)
    stopped: dict[str, str] = {}
    for notice in sorted(wanted, key=lambda n: n.created_at):
        reached = next(_reached(hour[notice.recipient], day[notice.recipient], about[notice.reference], limits), "")
        if reached:
            stopped[notice.key] = (
                f"{reached}: two machines may be answering each other. Look at the complaint; where a person writes so much, "
                "requeue this notice later or raise the cap in [notices] of the policy."
            )
            continue
        hour[notice.recipient] += 1
        day[notice.recipient] += 1
        about[notice.reference] += 1
    return stopped


def _reached(hour: int, day: int, about: int, limits: Limits) -> Iterator[str]:
    if hour >= limits.per_recipient_hour:
        yield f"This address got {hour} mails within an hour (per_recipient_hour)"
    if day >= limits.per_recipient_day:
        yield f"This address got {day} mails within a day (per_recipient_day)"
    if about >= limits.per_complaint_day:
        yield f"This complaint caused {about} mails within a day (per_complaint_day)"
