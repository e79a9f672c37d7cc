"""The plan of each action, as values: what it makes of a complaint, its clocks, its queue and its customer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from services.process import Desk
from services.router.departments.actions import Case, Moment, Stale, Unanswered, plan
from services.router.departments.commit import Actions, Request
from shared.complaint import (
    Category,
    Channel,
    Complaint,
    Customer,
    Deadline,
    Decision,
    Identity,
    Locale,
    Priority,
    State,
    Submission,
    Thread,
)
from shared.dialogue import Ask, Bury, Claiming, Finish, Prioritise, Progress, Propose, Reopen, Requeue, Resolve, Transfer, Withdraw
from shared.errors import IllegalTransition, RuleViolation
from shared.ledger import deadlines
from shared.ledger.submissions import Stored
from shared.ledger.work import Standing
from shared.notice_details import MissingFact, Option
from shared.policy import load
from tests.departments.conftest import Filing

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
MOMENT = Moment(now=NOW, actor="warehouse/li.na", policy=load())


def case(state: State = State.INVESTIGATING, *, complex_case: bool = False, work: str = "open", **fields: object) -> Case:
    complaint = Complaint(
        reference="C261121-7K3QXP", state=state, channel=Channel.EMAIL, source="email", account="care@shop.example", customer_id="U1",
        received_at=NOW, updated_at=NOW, version=3, category=Category.MISSING_ITEMS, priority=Priority.NORMAL, department="warehouse",
        decision=Decision(Category.MISSING_ITEMS, Priority.NORMAL, "warehouse", 0.9, complex=complex_case),
    )  # fmt: skip
    first = Submission(
        channel=Channel.EMAIL, source="email", account="care@shop.example", text="少了一件", subject="少发",
        customer=Customer(name="王芳", identities=(Identity("email", "wang@example.com", True),)), thread=Thread(message_id="first@x"),
    )  # fmt: skip
    later = msgspec.structs.replace(first, text="请尽快", subject="Re: 少发", thread=Thread(message_id="later@x", references=("first@x",)))
    stored = [
        Stored(dedupe_key=str(n), reference=complaint.reference, role="complaint", received_at=NOW, submission=s)
        for n, s in enumerate((first, later))
    ]
    due = [Deadline(clock=c, due_by=NOW + timedelta(hours=12), why="x") for c in ("department_answer", "resolution", "escalation_1")]
    changed = msgspec.structs.replace(complaint, **fields)
    return Case(standing=Standing(complaint=changed, work=work, due_by=due[0].due_by), said=stored, deadlines=due)


def option(hours: float) -> Option:
    return Option(title="补发", by=NOW + timedelta(hours=hours))


def test_letters_answer_the_customers_latest_mail_under_the_first_subject() -> None:
    notice = plan(case(), Progress(note="在查", tell_customer=True), MOMENT).notice
    assert notice is not None
    assert notice.thread == Thread(message_id="later@x", references=("first@x",))
    assert (notice.subject, notice.recipient, notice.locale, notice.key) == (
        "少发",
        "wang@example.com",
        Locale.ZH_CN,
        "progress/C261121-7K3QXP/4",
    )


def test_a_language_that_is_none_of_ours_is_answered_in_chinese() -> None:
    notice = plan(case(language="fr"), Resolve(cause="x", measure="y"), MOMENT).notice
    assert notice is not None
    assert notice.locale is Locale.ZH_CN


def test_a_proposal_keeps_the_resolution_clock_of_a_complex_complaint_only() -> None:
    offer = Propose(options=(option(24),))
    assert "resolution" in plan(case(complex_case=True), offer, MOMENT).met
    assert "resolution" not in plan(case(), offer, MOMENT).met


def test_a_question_moves_the_clocks_that_pause_and_no_others() -> None:
    change = plan(case(), Ask(fields=(MissingFact.EVIDENCE,), answer_by=NOW + timedelta(hours=24)), MOMENT)
    moved = {d.clock: d.due_by for d in change.due}
    assert moved["department_answer"] == moved["resolution"] == NOW + timedelta(hours=36)
    assert "escalation_1" not in moved
    assert change.standing.due_by == NOW + timedelta(hours=36)


def test_who_was_late_stays_on_record_when_the_complaint_moves() -> None:
    late = msgspec.structs.replace(case(), deadlines=[Deadline(clock="department_answer", due_by=NOW - timedelta(hours=1), why="x")])
    change = plan(late, Transfer(department="logistics", reason="途中丢失", category=Category.LOGISTICS_LOST), MOMENT)
    assert change.event is not None
    assert change.event.detail["was_late"] is True
    assert (change.standing.complaint.department, change.standing.work) == ("logistics", "open")
    assert change.standing.due_by == NOW + timedelta(hours=24)
    assert [entry.topic.value for entry in change.outbox] == ["assigned", "withdrawn"]


@pytest.mark.parametrize(
    ("where", "action", "refusal", "said"),
    [
        (case(), Finish(), Unanswered, "resolution"),
        (case(State.RESOLVED), Progress(note="x"), IllegalTransition, "reopened"),
        (case(State.CLOSED), Bury(reason="x"), IllegalTransition, "closed"),
        (case(work="dead"), Bury(reason="x"), Stale, "open work"),
        (case(), Requeue(), RuleViolation, "not a dead letter"),
        (case(), Transfer(department="warehouse", reason="x"), RuleViolation, "already"),
        (case(), Transfer(department="nowhere", reason="x"), RuleViolation, "logistics"),
        (case(), Propose(options=(option(-1),)), RuleViolation, "past"),
        (case(), Prioritise(priority=Priority.HIGH, due_by=NOW, reason="x"), RuleViolation, "past"),
        (case(), Reopen(reason="x"), IllegalTransition, "investigating"),
        (case(State.JOINED), Claiming(department="warehouse"), Stale, "not open work"),
        (case(work="done"), Claiming(department="warehouse"), Stale, "not open work"),
        (case(), Claiming(department="logistics"), Stale, "not open work"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(where: Case, action, refusal: type[Exception], said: str) -> None:
    with pytest.raises(refusal, match=said):
        plan(where, action, MOMENT)


def test_a_second_claim_changes_nothing() -> None:
    assert plan(case(State.AWAITING_CUSTOMER), Claiming(department="warehouse"), MOMENT).event is None


def test_a_withdrawn_complaint_is_closed_without_a_word_to_the_customer() -> None:
    change = plan(case(), Withdraw(reason="客户撤回"), MOMENT)
    assert (change.standing.complaint.state, change.notice, change.ended) == (State.CLOSED, None, True)
    assert change.standing.complaint.closed_at == NOW


async def test_the_last_of_several_steps_in_one_batch_decides_the_clocks(desk: Desk, file: Filing) -> None:
    reference = await file()
    actions = Actions(desk.ledger, desk.policy, desk.queues, lambda _: None)
    steps = (Progress(note="在查", tell_customer=True), Resolve(cause="x", measure="y"))
    for answer in await actions.many([Request(reference=reference, action=step, actor="x") for step in steps]):
        assert not isinstance(answer, BaseException), answer
    async with desk.ledger.read() as tx:
        assert all(d.met_at for d in await deadlines.of_complaint(tx, reference))
