"""The states of a complaint and the only moves between them (DOMAIN section 5). Pure: a table and one function."""

from __future__ import annotations

from shared.complaint import State
from shared.errors import IllegalTransition

OPEN = frozenset({State.RECEIVED, State.ASSIGNED, State.INVESTIGATING, State.AWAITING_CUSTOMER, State.SOLUTION_PROPOSED})
ANY_OPEN = tuple(OPEN)
WITH_DEPARTMENT = (State.ASSIGNED, State.INVESTIGATING, State.AWAITING_CUSTOMER, State.SOLUTION_PROPOSED)

#: event kind -> (states it may happen in, state it leads to; None leaves the state as it is)
TRANSITIONS: dict[str, tuple[tuple[State, ...], State | None]] = {
    "received": ((State.RECEIVED,), State.RECEIVED),
    "decided": ((State.RECEIVED,), State.ASSIGNED),
    "joined": ((State.RECEIVED, *WITH_DEPARTMENT), State.JOINED),
    "claimed": (WITH_DEPARTMENT, State.INVESTIGATING),
    "progressed": (WITH_DEPARTMENT, State.INVESTIGATING),
    "asked": (WITH_DEPARTMENT, State.AWAITING_CUSTOMER),
    "proposed": (WITH_DEPARTMENT, State.SOLUTION_PROPOSED),
    "accepted": ((State.SOLUTION_PROPOSED,), State.INVESTIGATING),
    "refused": ((State.SOLUTION_PROPOSED,), State.INVESTIGATING),
    "transferred": (WITH_DEPARTMENT, State.ASSIGNED),
    "resolved": (WITH_DEPARTMENT, State.RESOLVED),
    "closed": ((State.RESOLVED,), State.CLOSED),
    "reopened": ((State.RESOLVED, State.CLOSED), State.ASSIGNED),
    "followed_up": ((*ANY_OPEN, State.RESOLVED), None),
    "finished": ((State.AWAITING_CUSTOMER, State.SOLUTION_PROPOSED, State.RESOLVED, State.CLOSED), None),
    "dead_lettered": ((*WITH_DEPARTMENT, State.RESOLVED), None),
    "requeued": ((*WITH_DEPARTMENT, State.RESOLVED), None),
    "reprioritised": (WITH_DEPARTMENT, None),
    "withdrawn": (ANY_OPEN, State.CLOSED),
}


def after(state: State, event: str) -> State:
    """The state that follows when `event` happens in `state`.

    A follow-up while the customer's answer is awaited hands the complaint back to the department.
    Raises IllegalTransition, naming what would be possible, when the move is not in the table.
    """
    rule = TRANSITIONS.get(event)
    if rule is None or state not in rule[0]:
        possible = sorted(name for name, (states, _) in TRANSITIONS.items() if state in states and name != "received")
        raise IllegalTransition(
            f"'{event}' is not possible while the complaint is {state.value}. Possible now: {', '.join(possible) or 'nothing'}."
        )
    if event == "followed_up" and state is State.AWAITING_CUSTOMER:
        return State.INVESTIGATING
    return rule[1] or state
