"""What the workbench's forms mean: fields as typed become actions. Pure; a field that cannot be read is a refusal in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from services.router.departments.pages.times import read_local
from shared.dialogue import (
    Action,
    Answer,
    Ask,
    Bury,
    Finish,
    Prioritise,
    Progress,
    Propose,
    Reopen,
    Resolve,
    Transfer,
    Withdraw,
)
from shared.errors import RuleViolation
from shared.queues.contract import Dead, Done
from shared.queues.contract import Outcome as LeaseEnd

MOST_OPTIONS = 3


class FormFault(RuleViolation):
    """The form is not filled in as it should be."""

    code = "form_fault"


class Form:
    """The fields of a posted form; a name may come several times."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = [(name, value.strip().replace("\r\n", "\n")) for name, value in pairs]

    def one(self, name: str) -> str:
        return next((value for n, value in self._pairs if n == name), "")

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(value for n, value in self._pairs if n == name and value)

    def filled(self, *names: str) -> dict[str, Any]:
        """Those of the fields that hold something."""
        return {name: value for name in names if (value := self.one(name))}

    def typed(self, step: str) -> dict[str, str]:
        """What was typed, to show it again."""
        return {**dict(self._pairs), "step": step}


def _options(form: Form) -> list[dict[str, Any]]:
    options: list[dict[str, Any]] = []
    for n in range(1, MOST_OPTIONS + 1):
        title, by = form.one(f"title{n}"), form.one(f"by{n}")
        if title or by:
            try:
                options.append({"title": title, "by": read_local(by)})
            except ValueError:
                raise FormFault(f"方案 {n}：请填写完成时间。/ Option {n}: give a time.") from None
    return options


Reader = Callable[[Form], tuple[type[Action], dict[str, Any]]]

BY_LEASE: Mapping[str, tuple[Reader, Callable[[Form], LeaseEnd | None]]] = {
    "progress": (lambda f: (Progress, {**f.filled("note"), "tell_customer": bool(f.one("tell_customer"))}), lambda _: None),
    "ask": (lambda f: (Ask, {**f.filled("question"), "fields": f.all("fields")}), lambda _: None),
    "propose": (lambda f: (Propose, {"options": _options(f), **f.filled("cause")}), lambda _: None),
    "answer": (lambda f: (Answer, {"accepted": bool(f.one("accepted")), **f.filled("note")}), lambda _: None),
    "resolve": (lambda f: (Resolve, f.filled("cause", "measure", "improvement")), lambda _: Done()),
    "transfer": (lambda f: (Transfer, f.filled("department", "category", "reason")), lambda _: Done()),
    "finish": (lambda _: (Finish, {}), lambda _: Done()),
    "bury": (lambda f: (Bury, f.filled("reason")), lambda f: Dead(f.one("reason") or "-")),
}
BY_REFERENCE: Mapping[str, Reader] = {
    "reopen": lambda f: (Reopen, f.filled("reason")),
    "prioritise": lambda f: (Prioritise, f.filled("priority", "reason")),
    "withdraw": lambda f: (Withdraw, f.filled("reason")),
}


def read(reader: Reader, form: Form) -> Action:
    """The action a form means. Raises FormFault that names the field."""
    kind, values = reader(form)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise FormFault(str(error)) from None


def delay_of(form: Form) -> float:
    """Seconds until a retry. Raises FormFault."""
    try:
        return max(0.0, min(float(form.one("hours") or "0"), 720.0)) * 3600
    except ValueError:
        raise FormFault("请填写小时数。/ Give a number of hours.") from None
