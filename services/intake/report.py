"""How a conformance run reads to people: every promise, and under a broken one what is wrong and how to mend it. Pure."""

from __future__ import annotations

import msgspec

SHOWN = 6


class Check(msgspec.Struct, frozen=True):
    """One promise, and every way it was broken: each problem is a sentence that names the case and the mend."""

    name: str
    promise: str
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.problems


class Report(msgspec.Struct, frozen=True):
    """All promises of one adapter. blessed: the cases whose expected file was just written anew."""

    adapter: str
    cases: int
    checks: tuple[Check, ...]
    blessed: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.checks)

    def plus(self, more: Check) -> Report:
        """The report with one more check in it."""
        return msgspec.structs.replace(self, checks=(*self.checks, more))


def render(report: Report) -> str:
    """The report for a terminal: one line a promise, and under a broken one what is wrong and how to mend it."""
    lines = [f"{report.adapter}: {report.cases} cases"]
    if report.blessed:
        lines.append(f"  blessed anew, read the diff: {', '.join(report.blessed)}")
    for one in report.checks:
        lines.append(f"  {'ok  ' if one.passed else 'FAIL'} {one.name:<11} {one.promise}")
        lines += [f"         - {problem}" for problem in one.problems[:SHOWN]]
        if len(one.problems) > SHOWN:
            lines.append(f"         - and {len(one.problems) - SHOWN} more")
    failed = sum(not one.passed for one in report.checks)
    lines.append("  all promises are kept" if not failed else f"  {failed} of {len(report.checks)} promises are broken")
    return "\n".join(lines)
