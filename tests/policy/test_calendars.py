"""Working time, holidays, make-up workdays, and the deadlines that run from acceptance."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import calendars, policy
from shared.policy import Calendar

SHANGHAI = ZoneInfo("Asia/Shanghai")
POLICY = policy.load()
SERVICE = POLICY.calendars["service"]
FINANCE = POLICY.calendars["finance"]
OFFICE = Calendar(zone="Asia/Shanghai", opens="09:00", closes="18:00", days=(1, 2, 3, 4, 5), holidays="china")


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def shown(at: datetime) -> str:
    return at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("received", "due", "word"),
    [
        ("2026-03-10 10:00", "2026-03-10 10:15", "工作时间内"),
        ("2026-03-10 08:30", "2026-03-10 08:45", "工作时间内"),
        ("2026-03-10 08:29", "2026-03-10 08:59", "工作时间外"),
        ("2026-03-10 20:59", "2026-03-10 21:14", "工作时间内"),
        ("2026-03-10 21:00", "2026-03-10 21:30", "工作时间外"),
        ("2026-03-15 12:00", "2026-03-15 12:15", "工作时间内"),  # a Sunday is a working day for customer service
    ],
)
def test_the_first_response_depends_on_working_time(received: str, due: str, word: str):
    first, _ = calendars.acceptance_deadlines(local(received), POLICY)
    assert (first.clock, shown(first.due_by)) == ("first_response", due)
    assert word in first.why


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-03-10 11:59", "2026-03-10 18:00"),
        ("2026-03-10 12:00", "2026-03-11 12:00"),
        ("2026-03-10 23:59", "2026-03-11 12:00"),
        ("2026-03-11 00:00", "2026-03-11 18:00"),
        ("2026-12-31 13:00", "2027-01-01 12:00"),
    ],
)
def test_noon_decides_when_the_customer_is_answered(received: str, due: str):
    _, reply = calendars.acceptance_deadlines(local(received), POLICY)
    assert (reply.clock, shown(reply.due_by)) == ("customer_reply", due)
    assert reply.due_by.utcoffset() == timedelta(0)


def test_the_second_before_noon_is_still_before_noon():
    _, reply = calendars.acceptance_deadlines(local("2026-03-10 11:59:59.999999"), POLICY)
    assert shown(reply.due_by) == "2026-03-10 18:00"


def test_a_minute_before_the_national_holiday_working_hours_wait_for_its_end():
    # 1-7 October 2025 off (with mid-autumn: until the 8th), 11 October is a make-up Saturday
    due = calendars.add_working_time(local("2025-09-30 23:59"), timedelta(hours=1), FINANCE)
    assert shown(due) == "2025-10-09 00:59"


def test_a_make_up_saturday_is_worked_and_the_free_weekday_is_not():
    assert calendars.is_working_day(date(2025, 9, 28), OFFICE)  # Sunday, make-up for the national holiday
    assert calendars.is_working_day(date(2025, 10, 11), OFFICE)  # Saturday, make-up
    assert not calendars.is_working_day(date(2025, 10, 6), OFFICE)  # Monday, holiday
    assert not calendars.is_working_day(date(2025, 10, 12), OFFICE)  # ordinary Sunday
    due = calendars.add_working_time(local("2025-10-10 17:00"), timedelta(hours=3), OFFICE)
    assert shown(due) == "2025-10-11 11:00"


def test_a_six_day_week_works_ordinary_saturdays_but_no_holiday():
    logistics = POLICY.calendars["logistics"]
    assert calendars.is_working_day(date(2026, 3, 14), logistics)
    assert not calendars.is_working_day(date(2026, 3, 15), logistics)
    assert not calendars.is_working_day(date(2025, 10, 4), logistics)  # Saturday inside the national holiday


def test_the_spring_festival_is_waited_out():
    due = calendars.add_working_time(local("2025-01-27 17:30"), timedelta(hours=1), OFFICE)  # 28 January to 4 February off
    assert shown(due) == "2025-02-05 09:30"


def test_a_span_that_ends_at_closing_time_ends_then():
    assert shown(calendars.add_working_time(local("2026-03-10 17:00"), timedelta(hours=1), OFFICE)) == "2026-03-10 18:00"
    assert shown(calendars.add_working_time(local("2026-03-10 18:00"), timedelta(hours=1), OFFICE)) == "2026-03-11 10:00"


def test_a_year_without_a_table_falls_back_to_weekends_and_says_so():
    assert calendars.china_says(date(2035, 10, 1)) is None
    assert calendars.is_working_day(date(2035, 10, 1), OFFICE)  # a Monday
    assert not calendars.is_working_day(date(2035, 10, 6), OFFICE)  # a Saturday
    assert "节假日" in calendars.doubt(local("2035-10-01 10:00"), local("2035-10-01 11:00"), OFFICE)
    assert calendars.doubt(local("2025-10-01 10:00"), local("2025-10-09 11:00"), OFFICE) == ""
    assert calendars.doubt(local("2035-10-01 10:00"), local("2035-10-01 11:00"), SERVICE) == ""


def test_dates_of_the_policy_come_first():
    ours = msgspec.structs.replace(OFFICE, closed_on=("2026-03-10",), open_on=("2026-03-15",))
    assert not calendars.is_working_day(date(2026, 3, 10), ours)
    assert calendars.is_working_day(date(2026, 3, 15), ours)


def test_a_calendar_that_never_opens_is_an_error_and_not_an_endless_search():
    never = msgspec.structs.replace(SERVICE, days=(), open_on=("2020-01-01",))
    with pytest.raises(OverflowError):
        calendars.add_working_time(local("2026-03-10 10:00"), timedelta(hours=1), never)


def test_a_zone_with_summer_time_keeps_local_opening_hours():
    berlin = Calendar(zone="Europe/Berlin", opens="09:00", closes="17:00", days=(1, 2, 3, 4, 5))
    start = datetime(2026, 3, 27, 16, 0, tzinfo=ZoneInfo("Europe/Berlin"))  # the Friday before clocks go forward
    due = calendars.add_working_time(start, timedelta(hours=2), berlin).astimezone(ZoneInfo("Europe/Berlin"))
    assert due.strftime("%Y-%m-%d %H:%M") == "2026-03-30 10:00"


minutes_of_three_years = st.integers(0, 3 * 365 * 24 * 60)


@given(minutes_of_three_years, st.integers(1, 60 * 80))
def test_as_much_working_time_passes_as_was_asked_for(offset: int, minutes: int):
    start = local("2024-01-01 00:00") + timedelta(minutes=offset)
    span = timedelta(minutes=minutes)
    due = calendars.add_working_time(start, span, OFFICE)
    assert calendars.working_time_between(start, due, OFFICE) == span
    assert not calendars.is_working_time(due, OFFICE) or calendars.is_working_time(due - timedelta(microseconds=1), OFFICE)
