"""Which senders there are, which are opened, and what the operator hears when something does not fit."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from services.notifier.registry import close_senders, find_senders, open_senders
from services.notifier.sender import Letter, Sender, Sent
from shared.errors import ConfigError


class Quiet(Sender):
    """Takes letters and notes when it is opened and closed."""

    repeatable = False

    def __init__(self, name: str, *sources: str) -> None:
        self.name = name  # type: ignore[misc] # a class variable for real senders, one a test here
        self.sources = sources  # type: ignore[misc] # as above
        self.log: list[str] = []

    async def open(self, settings: Mapping[str, str]) -> None:
        if "wrong" in settings:
            raise ConfigError("wrong")
        self.log.append("open")

    async def send(self, letter: Letter) -> Sent:
        return Sent()

    async def close(self) -> None:
        self.log.append("close")


def test_the_four_senders_that_ship_are_found() -> None:
    found = find_senders()
    assert {"smtp", "wechat", "telegram", "console"} <= set(found)
    assert all(name == sender.name for name, sender in found.items())
    sources = [source for sender in found.values() for source in sender.sources]
    assert len(sources) == len(set(sources))


async def test_only_what_is_set_up_is_opened_and_the_console_always() -> None:
    found = {"a": Quiet("a", "email", "email/other"), "b": Quiet("b", "chat/b"), "console": Quiet("console", "phone")}
    opened = await open_senders(found, {"a": {}})
    assert {source: sender.name for source, sender in opened.items()} == {"email": "a", "email/other": "a", "phone": "console"}
    await close_senders(opened)
    assert found["a"].log == ["open", "close"]
    assert found["b"].log == []


async def test_an_unknown_sender_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'smpt' that is not installed\. Installed: console"):
        await open_senders({"console": Quiet("console", "phone")}, {"smpt": {}})


async def test_two_senders_for_one_source_are_refused_before_any_is_opened() -> None:
    found = {"a": Quiet("a", "email"), "b": Quiet("b", "email")}
    with pytest.raises(ConfigError, match="'a' and 'b' both answer 'email'"):
        await open_senders(found, {"a": {}, "b": {}})
    assert found["a"].log == found["b"].log == []


async def test_a_sender_that_refuses_its_settings_closes_the_others() -> None:
    found = {"a": Quiet("a", "email"), "b": Quiet("b", "chat")}
    with pytest.raises(ConfigError):
        await open_senders(found, {"a": {}, "b": {"wrong": "1"}})
    assert found["a"].log == ["open", "close"]
