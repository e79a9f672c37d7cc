"""What the organisation wants: departments, categories, clocks, calendars, priorities, wording rules; read from TOML, strictly.

Values only: nothing here reads a clock or decides anything. A policy that loads is complete: every category has a row, every department,
calendar and signal named anywhere exists, every pattern compiles. Figures and their sources: docs/domain.md sections 3, 4 and 7.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from shared.complaint import Category, Locale, Priority
from shared.errors import ConfigError

SHIPPED = Path(__file__).with_name("policy.toml")
SHIPPED_RULES = Path(__file__).with_name("rules.toml")

Hours = Annotated[float, msgspec.Meta(gt=0, le=24 * 366)]
Minutes = Annotated[int, msgspec.Meta(gt=0, le=60 * 24 * 31)]
Days = Annotated[int, msgspec.Meta(ge=0, le=3650)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$")]
Day = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Counting = Literal["elapsed", "working"]
Names = dict[Locale, str]
Content = TypeVar("Content", bound=msgspec.Struct)


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the policy's parts: an unknown key is an error, so that a misspelt one never goes unnoticed."""


class Contact(Part, frozen=True):
    """Who is told when a complaint of the department is escalated to this level."""

    level: Literal[1, 2]
    title: Names
    address: str


class Department(Part, frozen=True):
    """calendar: the working time of its people. contacts: level 1 team leader, level 2 manager."""

    names: Names
    calendar: str
    contacts: tuple[Contact, ...]


class Remedy(Part, frozen=True):
    """What falls due when the department is late; the service never pays by itself.

    reminders and hours: how many reminders, and how many further hours after the last of them, must have passed; both 0 means at the
    missed deadline itself. charge: responsible_department where the cost is put on whoever caused it.
    """

    kind: Literal["refund", "partial_refund", "coupon", "escalate"]
    reminders: Annotated[int, msgspec.Meta(ge=0)] = 0
    hours: Annotated[float, msgspec.Meta(ge=0)] = 0
    level: Literal[1, 2] = 1
    basis: Literal["whole_price", "share_of_what_is_missing", ""] = ""
    whole_if_unusable: bool = False
    charge: Literal["responsible_department", ""] = ""
    issuer: str = ""


class AnswerVariant(Part, frozen=True):
    """Another answer time for the category when the signal is seen in the complaint."""

    signal: str
    hours: Hours
    why: str


class CategoryRow(Part, frozen=True):
    """One row of docs/domain.md section 3. counts: overrides the clock's counting for this category; empty means as the clock says.

    urgency and complexity: points the category itself brings (section 7). asks: facts a complaint of this sort cannot be worked without.
    """

    names: Names
    department: str
    answer_hours: Hours
    remedies: tuple[Remedy, ...]
    answer_variants: tuple[AnswerVariant, ...] = ()
    answer_with: str = ""
    counts: Counting | None = None
    urgency: float = 1
    complexity: float = 0
    asks: tuple[Literal["order_number", "product", "demand", "contact"], ...] = ("order_number", "demand")


class Calendar(Part, frozen=True):
    """Working time. days: 1 Monday to 7 Sunday. holidays: china adds the State Council's holidays and make-up workdays."""

    zone: str
    opens: TimeOfDay
    closes: TimeOfDay
    days: tuple[Annotated[int, msgspec.Meta(ge=1, le=7)], ...]
    holidays: Literal["none", "china"] = "none"
    closed_on: tuple[Day, ...] = ()
    open_on: tuple[Day, ...] = ()


class FirstResponse(Part, frozen=True):
    """Minutes to the first response, inside and outside the working time of the calendar."""

    minutes: Minutes
    outside_minutes: Minutes
    calendar: str


class CustomerReply(Part, frozen=True):
    """Accepted before `noon`: reply by `same_day_by`; at or after it: by `next_day_by` on the next day. Local time of the calendar."""

    noon: TimeOfDay
    same_day_by: TimeOfDay
    next_day_by: TimeOfDay
    calendar: str


class DepartmentAnswer(Part, frozen=True):
    """How the categories' answer hours are counted; working hours follow the owning department's calendar."""

    counts: Counting
    pauses: bool


class Resolution(Part, frozen=True):
    """Hours until the complaint is solved (ordinary) or a solution is offered (complex)."""

    hours: Hours
    complex_hours: Hours
    counts: Counting
    calendar: str
    pauses: bool


class FollowUp(Part, frozen=True):
    """The customer hears from us at least this often while the complaint is open."""

    every_hours: Hours
    counts: Counting
    calendar: str
    pauses: bool


class EscalationStep(Part, frozen=True):
    """Hours unresolved after which this level is told."""

    level: Literal[1, 2]
    hours: Hours


class EscalationClock(Part, frozen=True):
    """steps: in rising order of level and hours."""

    steps: Annotated[tuple[EscalationStep, ...], msgspec.Meta(min_length=1)]
    counts: Counting
    calendar: str
    pauses: bool


class Clocks(Part, frozen=True):
    """docs/domain.md section 4. pauses: the clock stands still while the customer's answer is awaited."""

    first_response: FirstResponse
    customer_reply: CustomerReply
    department_answer: DepartmentAnswer
    resolution: Resolution
    follow_up: FollowUp
    escalation: EscalationClock


class OrderFormat(Part, frozen=True):
    """One shape of order number. pattern: a regular expression; `labelled` ones count only after a word such as 订单号 or order."""

    name: str
    pattern: str
    labelled: bool = False


class PriorityRules(Part, frozen=True):
    """Urgency and complexity points become one of four levels each way (docs/domain.md section 7).

    urgency_from: least points for normal, high and urgent. complex_from: least complexity points to be complex.
    ordinary and complex: the priority for urgency level 0, 1, 2, 3.
    """

    urgency_from: tuple[float, float, float]
    complex_from: float
    ordinary: tuple[Priority, Priority, Priority, Priority]
    complex: tuple[Priority, Priority, Priority, Priority]
    channel: dict[str, float] = {}
    tiers: dict[str, float] = {}
    large_amount: float = 1000
    large_amount_urgency: float = 1
    second_category_complexity: float = 1
    long_text: int = 600
    long_text_complexity: float = 0.5


class Review(Part, frozen=True):
    """Below `threshold` confidence, or with the two best guesses closer than `margin`, a person looks at it first."""

    threshold: Share
    margin: Share = 0
    secondary: Share = 0.2


class Join(Part, frozen=True):
    """How long an open or closed complaint still takes a second submission of the same customer and order."""

    window_days: Days


class Notices(Part, frozen=True):
    """Which notices go out by themselves and how many a recipient may get, so that two machines never talk for ever.

    The caps count mail that answers mail: no loop runs through a form. unusable_days: how long an address that bounced is left alone.
    """

    acknowledgement: bool
    progress: bool
    per_recipient_hour: Annotated[int, msgspec.Meta(ge=1)]
    per_recipient_day: Annotated[int, msgspec.Meta(ge=1)]
    per_complaint_day: Annotated[int, msgspec.Meta(ge=1)]
    unusable_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 60


class WordingRule(Part, frozen=True):
    """Words that speak for a category.

    Patterns are regular expressions over the folded text (lower case, half width, simplified characters); a `~` in one stands for a short
    stretch of the same sentence. A hit right behind a negation does not count. weight: how strongly, in log-odds; negative speaks
    against. unless: patterns that undo the rule. script: which texts it is tried on.
    """

    id: str
    category: Category
    weight: float
    script: Literal["han", "latin"]
    why: str
    any: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    unless: tuple[str, ...] = ()


class Signal(Part, frozen=True):
    """Words that make a complaint more pressing or more complex (docs/domain.md section 7). urgency, complexity: points."""

    id: str
    why: str
    urgency: float = 0
    complexity: float = 0
    kind: Literal["safety", "threat", "mood", "money", "time", "repeat", "person", "fact", "calm"] = "fact"
    han: tuple[str, ...] = ()
    latin: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


class DemandRule(Part, frozen=True):
    """Words by which a customer says what is wanted."""

    demand: Literal["refund", "exchange", "reissue", "coupon", "compensation", "invoice", "apology", "explanation", "repair", "delivery"]
    han: tuple[str, ...] = ()
    latin: tuple[str, ...] = ()


class Wording(Part, frozen=True):
    """Everything that is recognised by words: shared/rules.toml."""

    version: Literal[1]
    rules: tuple[WordingRule, ...] = ()
    signals: tuple[Signal, ...] = ()
    demands: tuple[DemandRule, ...] = ()


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, eq=False):
    """The whole policy. `hash` names this very content; it is stored with each decision. Compared and hashed by identity."""

    version: Literal[1]
    name: str
    phone_region: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]
    departments: dict[str, Department]
    categories: dict[Category, CategoryRow]
    calendars: dict[str, Calendar]
    clocks: Clocks
    priority: PriorityRules
    review: Review
    join: Join
    notices: Notices
    order_numbers: tuple[OrderFormat, ...]
    rules_file: str = ""
    wording: Wording = Wording(version=1)
    hash: str = ""

    def department_of(self, category: Category) -> str:
        """The id of the department that owns a category by default."""
        return self.categories[category].department


def load(path: Path | None = None) -> Policy:
    """The policy at `path`, or the one that ships with the package; its wording from `rules_file` beside it, or the shipped rules.

    Raises ConfigError that names file, key and mend.
    """
    return _load_shipped() if path is None else _load(path)


@functools.cache
def _load_shipped() -> Policy:
    return _load(SHIPPED)


def _load(path: Path) -> Policy:
    raw = _read(path)
    fields = _decode(raw, Policy, path)
    if fields.hash or fields.wording.rules:
        raise ConfigError(
            f"{path}: `hash` and `wording` are worked out, not written. Remove them; wording rules go into the file of `rules_file`."
        )
    rules_path = path.parent / fields.rules_file if fields.rules_file else SHIPPED_RULES
    raw_rules = _read(rules_path)
    wording = _decode(raw_rules, Wording, rules_path)
    digest = hashlib.sha256(raw + b"\x00" + raw_rules).hexdigest()[:16]
    policy = msgspec.structs.replace(fields, wording=wording, hash=digest)
    problems = [*(f"{path}: {problem}" for problem in _gaps(policy)), *(f"{rules_path}: {problem}" for problem in _wording_gaps(wording))]
    if problems:
        raise ConfigError("The policy is not complete.\n" + "\n".join(problems))
    return policy


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"The policy file {path} cannot be read ({error.strerror}). Check DESK_POLICY_FILE and the file's rights."
        raise ConfigError(message) from None


def _decode(raw: bytes, kind: type[Content], path: Path) -> Content:
    try:
        return msgspec.toml.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}. Correct that key; `desk policy check` tries the file again.") from None


def _gaps(policy: Policy) -> Iterator[str]:
    """Everything that is missing or points nowhere, each with its key and mend."""
    for category in Category:
        if category not in policy.categories:
            yield f"[categories.{category.value}] is missing. Add it with names, department, answer_hours and remedies."
    for category, row in policy.categories.items():
        key = f"[categories.{category.value}]"
        if row.department not in policy.departments:
            yield f"{key} department '{row.department}' does not exist. Use one of: {', '.join(policy.departments)}."
        yield from _unnamed(key, row.names)
        for variant in row.answer_variants:
            if variant.signal not in {signal.id for signal in policy.wording.signals}:
                yield f"{key} answer_variants: there is no signal '{variant.signal}' in the wording rules. Add it or correct the name."
        for remedy in row.remedies:
            if remedy.issuer and remedy.issuer not in policy.departments:
                yield f"{key} remedies: issuer '{remedy.issuer}' is no department. Use one of: {', '.join(policy.departments)}."
    for name, department in policy.departments.items():
        yield from _unnamed(f"[departments.{name}]", department.names)
        if {contact.level for contact in department.contacts} != {1, 2}:
            yield f"[departments.{name}] contacts: give one team leader (level 1) and one manager (level 2)."
    yield from _calendar_gaps(policy)
    yield from _priority_gaps(policy)


def _calendar_gaps(policy: Policy) -> Iterator[str]:
    clocks = policy.clocks
    used = {f"departments.{name}": department.calendar for name, department in policy.departments.items()}
    used |= {
        "clocks.first_response": clocks.first_response.calendar,
        "clocks.customer_reply": clocks.customer_reply.calendar,
        "clocks.resolution": clocks.resolution.calendar,
        "clocks.follow_up": clocks.follow_up.calendar,
        "clocks.escalation": clocks.escalation.calendar,
    }
    for key, calendar in used.items():
        if calendar not in policy.calendars:
            yield f"[{key}] calendar '{calendar}' does not exist. Use one of: {', '.join(policy.calendars)}."
    for name, calendar in policy.calendars.items():
        if calendar.opens >= calendar.closes:
            yield f"[calendars.{name}] opens {calendar.opens} is not before closes {calendar.closes}. Give both as HH:MM of one day."
        if not calendar.days and not calendar.open_on:
            yield f"[calendars.{name}] days is empty: nothing would ever fall due. Name at least one day (1 Monday to 7 Sunday)."
        problem = _zone_problem(calendar.zone)
        if problem:
            yield f"[calendars.{name}] zone: {problem}"
    steps = clocks.escalation.steps
    if any(later.level <= earlier.level or later.hours <= earlier.hours for earlier, later in itertools.pairwise(steps)):
        yield "[clocks.escalation] steps must rise in level and in hours. Put them in order."


def _zone_problem(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return f"'{zone}' is not a time zone. Use a name such as Asia/Shanghai."
    return ""


def _priority_gaps(policy: Policy) -> Iterator[str]:
    bounds = policy.priority.urgency_from
    if list(bounds) != sorted(bounds):
        yield f"[priority] urgency_from {list(bounds)} must rise: points for normal, high, urgent."
    for shape in policy.order_numbers:
        yield from _pattern_problem(f"order_numbers '{shape.name}'", shape.pattern)


def _wording_gaps(wording: Wording) -> Iterator[str]:
    seen: set[str] = set()
    entries: list[tuple[str, tuple[str, ...]]] = [(f"rule '{rule.id}'", (*rule.any, *rule.unless)) for rule in wording.rules]
    entries += [(f"signal '{signal.id}'", (*signal.han, *signal.latin, *signal.unless)) for signal in wording.signals]
    for key, patterns in entries:
        if key in seen:
            yield f"{key} is there twice. Give each its own id."
        seen.add(key)
        for pattern in patterns:
            yield from _pattern_problem(key, pattern)
    for rule in wording.demands:
        for pattern in (*rule.han, *rule.latin):
            yield from _pattern_problem(f"demand '{rule.demand}'", pattern)


def _pattern_problem(key: str, pattern: str) -> Iterator[str]:
    try:
        matches_nothing = re.compile(pattern).match("") is not None
    except re.error as error:
        yield f"{key}: the pattern {pattern!r} cannot be read ({error}). Correct it."
        return
    if matches_nothing:
        yield f"{key}: the pattern {pattern!r} fits every text. Make it ask for at least one character."


def _unnamed(key: str, names: Names) -> Iterator[str]:
    missing = [locale.value for locale in Locale if not names.get(locale)]
    if missing:
        yield f"{key} names: {', '.join(missing)} missing. Customers and staff read them; give all three."


def describe(policy: Policy) -> dict[str, Any]:
    """The policy as plain JSON values, without the wording rules; for `desk policy show`."""
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(policy))
    del values["wording"]
    return values
