"""Every raw mail of the corpus is read as written beside it. `pytest --bless` rewrites the expectations; the diff is the review."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.intake.mail.read import read_mail
from services.intake.mail.report import describe, describe_error
from shared.errors import SubmissionRejected

CORPUS = Path(__file__).parent / "corpus"
MAILS = sorted(CORPUS.glob("*.eml"))


def reading(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        return describe(path.name, read_mail(raw))
    except SubmissionRejected as error:
        return describe_error(path.name, error)


def test_the_corpus_is_there() -> None:
    assert len(MAILS) > 100


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_reads_as_expected(path: Path, request: pytest.FixtureRequest) -> None:
    got = reading(path, path.read_bytes())
    expected = path.with_suffix(".json")
    if request.config.getoption("--bless", default=False):
        expected.write_text(json.dumps(got, ensure_ascii=False, indent=2) + "\n")
    assert got == json.loads(expected.read_text())


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_line_ends_change_nothing_but_sizes_of_text_files(path: Path) -> None:
    raw = path.read_bytes()
    if b"\n" not in raw or "error" in reading(path, raw):
        pytest.skip("no lines to change")
    unix = raw.replace(b"\r\n", b"\n")
    one, other = reading(path, unix), reading(path, unix.replace(b"\n", b"\r\n"))
    for form in (one, other):
        for attachment in form["attachments"]:
            del attachment["size"], attachment["sha256"]
    assert one == other


def test_names_of_the_form_are_kept() -> None:
    form = reading(CORPUS / "reply_qq.eml", (CORPUS / "reply_qq.eml").read_bytes())
    assert list(form) == [
        "file", "from", "reply_to", "to", "cc", "subject", "text", "quoted", "html", "attachments", "message_id", "in_reply_to",
        "references", "sent_at", "auto_submitted", "bounce",
    ]  # fmt: skip
    assert form["quoted"].startswith("------------------ 原始邮件")
