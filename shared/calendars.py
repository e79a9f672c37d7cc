"""Working time, holidays and make-up workdays; deadlines as pure functions that explain themselves (docs/domain.md section 4).

No clock is read here: the instant comes in. The two deadlines that run from acceptance are here too, since intake sets them and may
not import the router. Instants are aware; what comes out is in UTC. The words of `why` are for managers, in Chinese, with local times.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import chinese_calendar  # pyright: ignore[reportMissingTypeStubs] - it ships no types

from shared.complaint import Deadline
from shared.policy import Calendar, Policy

ONE_DAY = timedelta(days=1)
#: A deadline further away than this means the calendar hardly ever opens: better an error than an endless search.
FARTHEST_DAYS = 3660
NO_TABLE = "(该年度节假日表尚未公布，按普通周末计算)"


def deadline_after(start: datetime, hours: float, counts: str, calendar: Calendar) -> datetime:
    """The instant `hours` after `start`, in elapsed hours or in hours during which the calendar is open."""
    return (
        start.astimezone(UTC) + timedelta(hours=hours) if counts == "elapsed" else add_working_time(start, timedelta(hours=hours), calendar)
    )


def add_working_time(start: datetime, span: timedelta, calendar: Calendar) -> datetime:
    """The instant at which `span` of working time has passed since `start`.

    A span that ends exactly at closing time ends then, not at the next opening. Raises OverflowError where the calendar does not open
    often enough to reach it within ten years.
    """
    left = span
    for opens, closes in _openings(start, calendar):
        begin = max(opens, start.astimezone(UTC))
        if begin >= closes:
            continue
        if closes - begin >= left:
            return begin + left
        left -= closes - begin
    raise OverflowError(f"{span} of working time is more than this calendar holds in ten years")


def working_time_between(start: datetime, end: datetime, calendar: Calendar) -> timedelta:
    """How much working time lies between two instants; zero where `end` is not after `start`."""
    total = timedelta()
    for opens, closes in _openings(start, calendar):
        if opens >= end:
            return total
        total += max(timedelta(), min(closes, end.astimezone(UTC)) - max(opens, start.astimezone(UTC)))
    return total


def is_working_time(at: datetime, calendar: Calendar) -> bool:
    """Whether the calendar is open at that instant: the opening minute is, the closing minute is not."""
    local = at.astimezone(ZoneInfo(calendar.zone))
    opening = _opening(local.date(), calendar)
    return opening is not None and opening[0] <= at < opening[1]


def next_opening(at: datetime, calendar: Calendar) -> datetime | None:
    """When the calendar opens next after an instant outside its working time; None where it does not open within ten years."""
    return next((opens for opens, _ in _openings(at, calendar) if opens > at), None)


def is_working_day(day: date, calendar: Calendar) -> bool:
    """Whether people work that day: the policy's own dates first, then the country's table, then the days of the week."""
    text = day.isoformat()
    if text in calendar.open_on:
        return True
    if text in calendar.closed_on:
        return False
    weekday = day.isoweekday()
    if calendar.holidays == "china":
        told = china_says(day)
        if told is not None:
            # An ordinary Saturday or Sunday is the table's "holiday" as well; only days off by name overrule the calendar's own week.
            off_work, named, make_up = told
            if make_up:
                return True
            if off_work and named:
                return False
    return weekday in calendar.days


@functools.lru_cache(maxsize=4096)
def china_says(day: date) -> tuple[bool, bool, bool] | None:
    """(off work, by a named holiday, make-up workday) by the State Council's table, or None for a year without one."""
    try:
        off_work, name = cast("tuple[bool, str | None]", chinese_calendar.get_holiday_detail(day))  # pyright: ignore[reportUnknownMemberType] - untyped
    except NotImplementedError:
        return None
    return off_work, name is not None, bool(not off_work and day.isoweekday() > 5)


def has_table(day: date, calendar: Calendar) -> bool:
    """Whether holidays of that year are known, or do not matter to this calendar."""
    return calendar.holidays == "none" or china_says(day) is not None


def acceptance_deadlines(received_at: datetime, policy: Policy) -> tuple[Deadline, ...]:
    """The deadlines that run from acceptance, whatever the complaint is about: first_response and customer_reply."""
    return (_first_response(received_at, policy), _customer_reply(received_at, policy))


def local_words(at: datetime, zone: str) -> str:
    """An instant as staff read it, for example 11月22日 18:00."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local.month}月{local.day}日 {local:%H:%M}"


def doubt(start: datetime, end: datetime, calendar: Calendar) -> str:
    """A remark for `why` where the deadline touches a year whose holidays are not known; otherwise empty."""
    zone = ZoneInfo(calendar.zone)
    days = {start.astimezone(zone).date(), end.astimezone(zone).date()}
    return "" if all(has_table(day, calendar) for day in days) else NO_TABLE


def _first_response(received_at: datetime, policy: Policy) -> Deadline:
    clock = policy.clocks.first_response
    calendar = policy.calendars[clock.calendar]
    inside = is_working_time(received_at, calendar)
    minutes = clock.minutes if inside else clock.outside_minutes
    when = "工作时间内" if inside else "工作时间外"
    why = f"{when}（{calendar.opens}-{calendar.closes}）收到，{minutes} 分钟内首次响应"
    return Deadline(clock="first_response", due_by=received_at.astimezone(UTC) + timedelta(minutes=minutes), why=why)


def _customer_reply(received_at: datetime, policy: Policy) -> Deadline:
    clock = policy.clocks.customer_reply
    zone = policy.calendars[clock.calendar].zone
    local = received_at.astimezone(ZoneInfo(zone))
    if local.time() < _time_of(clock.noon):
        due, why = _at(local.date(), clock.same_day_by, zone), f"{clock.noon} 前受理，当日 {clock.same_day_by} 前回复客户"
    else:
        due, why = _at(local.date() + ONE_DAY, clock.next_day_by, zone), f"{clock.noon} 后受理，次日 {clock.next_day_by} 前回复客户"
    return Deadline(clock="customer_reply", due_by=due, why=why)


def _openings(start: datetime, calendar: Calendar) -> Iterator[tuple[datetime, datetime]]:
    """The opening spans in UTC from the local day of `start` onwards, for ten years."""
    day = start.astimezone(ZoneInfo(calendar.zone)).date()
    for offset in range(FARTHEST_DAYS):
        opening = _opening(day + offset * ONE_DAY, calendar)
        if opening is not None:
            yield opening


def _opening(day: date, calendar: Calendar) -> tuple[datetime, datetime] | None:
    if not is_working_day(day, calendar):
        return None
    return _at(day, calendar.opens, calendar.zone), _at(day, calendar.closes, calendar.zone)


@functools.lru_cache(maxsize=4096)
def _at(day: date, clock_time: str, zone: str) -> datetime:
    if clock_time == "24:00":
        day, clock_time = day + ONE_DAY, "00:00"
    return datetime.combine(day, _time_of(clock_time), ZoneInfo(zone)).astimezone(UTC)


def _time_of(text: str) -> time:
    return time.fromisoformat(text)
