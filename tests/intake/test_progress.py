"""What a customer may see of a complaint, worked out from its history."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from services.intake.pages.view import contact_of, entries, words_of
from services.intake.progress import progress, promise, stages
from shared.complaint import Channel, Complaint, Deadline, Event, Notice, NoticeKind, State
from shared.privacy import mask, mask_email, mask_phone, mask_text
from tests.arrivals import AT

REF = "C261121-7K3QXP"


def at(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


def told(*kinds: str) -> list[Event]:
    """One event a minute."""
    return [Event(REF, n + 1, at(n), kind, "somebody", {"note": "internal"}) for n, kind in enumerate(kinds)]


def complaint(state: State) -> Complaint:
    return Complaint(
        reference=REF,
        state=state,
        channel=Channel.WEB_FORM,
        source="web_form",
        account="web",
        customer_id="U1",
        received_at=AT,
        updated_at=AT,
        department="finance",
    )


def notice(kind: NoticeKind, minutes: float, **detail: object) -> Notice:
    return Notice(
        key=f"{kind}/{minutes}",
        reference=REF,
        kind=kind,
        channel=Channel.WEB_FORM,
        source="email",
        account="web",
        recipient="wang@example.com",
        created_at=at(minutes),
        detail=dict(detail),
    )


def reached(state: State, *kinds: str) -> list[str]:
    return [stage.name for stage in stages(state, told(*kinds)) if stage.reached]


def test_a_new_complaint_has_reached_the_first_stage() -> None:
    assert reached(State.RECEIVED, "received") == ["received"]


def test_stages_follow_the_state_and_keep_the_time_each_was_first_reached() -> None:
    found = stages(State.SOLUTION_PROPOSED, told("received", "decided", "claimed", "progressed", "proposed"))
    assert [stage.at for stage in found] == [at(0), at(1), at(2), at(4), None]


def test_a_stage_that_was_passed_over_is_reached_without_a_time() -> None:
    found = stages(State.RESOLVED, told("received", "decided", "resolved"))
    assert [(stage.reached, stage.at) for stage in found] == [(True, at(0)), (True, at(1)), (True, None), (True, None), (True, at(2))]


def test_a_reopened_complaint_is_not_done_any_more() -> None:
    kinds = ("received", "decided", "claimed", "resolved", "reopened")
    assert reached(State.ASSIGNED, *kinds) == ["received", "assigned"]
    assert stages(State.ASSIGNED, told(*kinds))[1].at == at(4)


def test_a_transfer_takes_the_complaint_back_to_a_colleague() -> None:
    assert reached(State.ASSIGNED, "received", "decided", "claimed", "transferred") == ["received", "assigned"]


def test_what_is_ours_alone_is_not_told() -> None:
    seen = progress(
        complaint(State.INVESTIGATING), told("received", "auto_replied", "bounced", "transferred", "remedy_due", "claimed"), (), AT
    )
    assert [step.kind for step in seen.history] == ["received", "claimed"]


def test_the_same_step_several_times_running_is_one_line() -> None:
    seen = progress(complaint(State.INVESTIGATING), told("received", "followed_up", "followed_up", "claimed"), (), AT)
    assert [(step.kind, step.at) for step in seen.history] == [("received", at(0)), ("followed_up", at(2)), ("claimed", at(3))]


def test_the_promise_is_the_next_open_one() -> None:
    due = [Deadline("customer_reply", at(60)), Deadline("follow_up", at(600)), Deadline("department_answer", at(5))]
    assert promise(due, at(10)) == at(60)
    assert promise(due, at(61)) == at(600)
    assert promise([Deadline("customer_reply", at(60), met_at=at(5)), due[1]], at(10)) == at(600)
    assert promise([due[2]], at(10)) is None


def test_a_broken_promise_is_owned() -> None:
    seen = progress(complaint(State.ASSIGNED), told("received"), [Deadline("customer_reply", at(60))], at(61))
    assert (seen.promised_by, seen.late) == (at(60), True)


def test_nothing_is_promised_once_it_is_done() -> None:
    seen = progress(complaint(State.RESOLVED), told("received", "resolved"), [Deadline("follow_up", at(60))], at(61))
    assert (seen.promised_by, seen.late) == (None, False)


@pytest.mark.parametrize(
    ("state", "needs"), [(State.AWAITING_CUSTOMER, True), (State.SOLUTION_PROPOSED, True), (State.INVESTIGATING, False)]
)
def test_the_customer_is_told_when_it_is_their_turn(state: State, needs: bool) -> None:
    assert progress(complaint(state), told("received"), (), AT).needs_you is needs


def test_our_words_stand_at_the_step_they_belong_to() -> None:
    lines = entries(
        told("received", "claimed", "progressed", "progressed", "resolved"),
        [
            notice(NoticeKind.ACKNOWLEDGEMENT, 0, next_by="x"),
            notice(NoticeKind.PROGRESS, 2, message="快递已在查"),
            notice(NoticeKind.RESULT, 4, cause="底座有裂", measure="已换新", improvement=""),
        ],
    )
    assert [(line.kind, [said.text for said in line.said]) for line in lines] == [
        ("resolved", ["底座有裂", "已换新"]),
        ("progressed", []),
        ("progressed", ["快递已在查"]),
        ("claimed", []),
        ("received", []),
    ]


def test_options_are_shown_with_their_dates_and_nonsense_is_left_out() -> None:
    options = [{"title": "退款", "by": "2026-11-23T10:00:00+00:00"}, {"title": "换货", "by": "soon"}, {"by": "x"}, "换"]
    said = words_of(notice(NoticeKind.SOLUTION, 1, options=options, cause=5))
    assert [(s.text, s.by is not None) for s in said] == [("退款", True), ("换货", False)]


def test_where_news_goes_is_shown_masked() -> None:
    assert contact_of([notice(NoticeKind.ACKNOWLEDGEMENT, 0)]) == ("email", "w***@example.com")
    assert contact_of([]) == ("", "")


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("+8613800138000", "138****8000"),
        ("13800138000", "138****8000"),
        ("+886912345678", "886****5678"),
        ("62345678", "6****78"),
        ("110", "****"),
    ],
)
def test_telephone_numbers_are_masked(number: str, masked: str) -> None:
    assert mask_phone(number) == masked


def test_addresses_and_texts_are_masked() -> None:
    assert mask_email("zhang.san@qq.com") == "z***@qq.com"
    assert mask_email("nonsense") == "***"
    assert mask("wechat", "gh_1:oABC") == "***"
    masked = mask_text("请打13800138000或写信到 zhang@qq.com，编号 C261121-7K3QXP")
    assert masked == "请打138****8000或写信到 z***@qq.com，编号 C261121-7K3QXP"
