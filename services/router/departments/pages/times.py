"""Times as people at the workbench read them: in the business's zone, and as time left. Pure: the present is passed in."""

from __future__ import annotations

from datetime import datetime, timedelta

from babel.dates import format_datetime

from services.router.departments.pages.words import Words
from shared.complaint import Locale
from shared.references import BUSINESS_ZONE

PATTERNS = {Locale.ZH_CN: "M月d日 HH:mm", Locale.ZH_TW: "M月d日 HH:mm", Locale.EN: "d MMM HH:mm"}
BABEL = {Locale.ZH_CN: "zh_Hans_CN", Locale.ZH_TW: "zh_Hant_TW", Locale.EN: "en_GB"}
SOON = timedelta(hours=2)


class Times:
    """Writes instants for one page, in one language, as of one moment."""

    def __init__(self, words: Words, now: datetime) -> None:
        self._words = words
        self._now = now

    def when(self, at: datetime) -> str:
        local = at.astimezone(BUSINESS_ZONE)
        return format_datetime(local, PATTERNS[self._words.locale], locale=BABEL[self._words.locale])

    def late(self, due: datetime) -> bool:
        return due < self._now

    def soon(self, due: datetime) -> bool:
        return not self.late(due) and due - self._now < SOON

    def left(self, due: datetime) -> str:
        """剩 3 小时 12 分, or 已超 2 天 4 小时."""
        span = self.span(abs((due - self._now).total_seconds()))
        if self._words.locale is Locale.EN:
            return f"{self._words('late')} {span}" if self.late(due) else f"{span} {self._words('left')}"
        return f"{self._words('late' if self.late(due) else 'left')} {span}"

    def span(self, seconds: float) -> str:
        """A length of time in its two largest units."""
        minutes = int(seconds // 60)
        parts = ((minutes // 1440, "days"), (minutes // 60 % 24, "hour"), (minutes % 60, "minutes"))
        first = next((n for n, (count, _) in enumerate(parts) if count), 2)
        shown = [(count, unit) for count, unit in parts[first : first + 2] if count or unit == "minutes"]
        return " ".join(f"{count} {self._words(unit)}" for count, unit in shown)


def read_local(text: str) -> datetime:
    """The instant of a datetime-local field, which people fill in the business's time. Raises ValueError."""
    return datetime.fromisoformat(text).replace(tzinfo=BUSINESS_ZONE)
