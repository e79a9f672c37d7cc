"""The project's pages in Markdown, taken apart: their prose, code, links and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """path: from the project's folder."""

    path: str
    text: str

    @property
    def prose(self) -> str:
        """Without indented and fenced code."""
        return "\n".join(line for line in FENCE.sub("", self.text).splitlines() if not line.startswith("    "))

    @property
    def code_lines(self) -> list[str]:
        """The lines of indented code, without their comments."""
        lines = [line.strip() for line in FENCE.sub("", self.text).splitlines() if line.startswith("    ")]
        return [re.split(r"\s+# |^# ", line)[0].strip() for line in lines]

    @property
    def spans(self) -> list[str]:
        """What stands between single backticks."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    @property
    def links(self) -> list[str]:
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    @property
    def headings(self) -> list[tuple[int, str]]:
        return [(len(marks), title) for marks, title in re.findall(r"^(#+) (.+)$", self.prose, re.MULTILINE)]

    @property
    def commands(self) -> list[str]:
        """Everything in code or backticks, a piece at a time, where a command might stand."""
        pieces = [*self.code_lines, *self.spans]
        return [part.strip() for piece in pieces for part in re.split(r"[|;]|\$\(|`", piece)]


def pages() -> list[Page]:
    """README in both languages, the changelog and everything under docs/."""
    paths = [ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [Page(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths]
