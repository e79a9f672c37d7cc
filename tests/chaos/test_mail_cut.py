"""The line breaks in the middle of a mail, coming in and going out: nothing is lost, and nothing is doubled that could have been known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from services.demo import inputs
from shared.ledger import tables
from tests.chaos.proxy import Cut, Proxy
from tests.end_to_end.world import Desk, Service, environment, looking_at, outside, running, until
from tests.valkey import PrivateValkey, private_valkey

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("processes"), pytest.mark.timeout(240)]

CUTS = 3
BEFORE_THE_CUT = 40_000


@pytest.fixture
def valkey() -> Iterator[PrivateValkey]:
    with private_valkey() as server:
        yield server


class Cutter:
    """Lets so many bytes of the server's answers pass, then cuts the line; after so many cuts everything passes."""

    def __init__(self) -> None:
        self.cuts = 0
        self.passed = 0

    async def __call__(self, data: bytes) -> AsyncIterator[bytes]:
        self.passed += len(data)
        if self.cuts < CUTS and self.passed >= BEFORE_THE_CUT:
            self.passed = 0
            self.cuts += 1
            raise Cut
        yield data


async def test_a_mail_whose_fetch_is_cut_in_the_body_is_fetched_again_and_becomes_one_complaint(
    tmp_path: Path, valkey: PrivateValkey
) -> None:
    async with outside(imap=True) as world:
        assert world.mailbox is not None
        port, cutter = world.mailbox.port, Cutter()
        long_text = "包裹没有收到，附上全部聊天记录。\n" + "客服说还要再等等。\n" * 4000
        await asyncio.to_thread(
            world.mailbox.deliver,
            *(inputs.mail((f"客户{n}", f"kunde{n}@mail.example"), f"没有收到 {n}", long_text) for n in range(4)),
        )
        async with Proxy(lambda: asyncio.open_connection("127.0.0.1", port), to_client=cutter) as proxy:
            environ = environment(tmp_path / "home", world, imap_port=proxy.port, redis_url=valkey.url)
            intake = Service("intake", environ)
            async with running(intake), looking_at(environ) as desk:

                async def all_there() -> bool:
                    return cutter.cuts == CUTS and sum((await outcomes(desk, tables.mails.c.outcome)).values()) == 4

                async def standing() -> str:
                    return f"{cutter.cuts} cuts, {len(await desk.references())} complaints\n{intake.last_words()}"

                await until(all_there, standing, 90)
                assert await outcomes(desk, tables.mails.c.outcome) == {"accepted": 4}
                assert await outcomes(desk, tables.submissions.c.role) == {"complaint": 4}
                async with desk.ledger.read() as tx:
                    held = (await tx.execute(select(func.count()).select_from(tables.quarantine))).scalar_one()
                assert held == 0, "half a mail is no mail to put into quarantine"


async def outcomes(desk: Desk, column: object) -> dict[str, int]:
    """How many rows have which value."""
    async with desk.ledger.read() as tx:
        rows = await tx.execute(select(column, func.count()).group_by(column))  # type: ignore[call-overload] - any column
        return {row[0]: row[1] for row in rows}


async def test_a_relay_cut_after_the_content_gets_the_same_mail_again_under_its_message_id(tmp_path: Path, valkey: PrivateValkey) -> None:
    async with outside() as world:
        world.relay.faults.cut_after_data = 1
        environ = environment(tmp_path / "home", world, redis_url=valkey.url)
        async with running(Service("intake", environ), Service("notifier", environ)), looking_at(environ) as desk:
            answer = await desk.http.post("/api/v1/complaints", json={"email": "lan@mail.example", "text": "退款没有到账。"})
            assert answer.status_code == 202

            async def sent() -> bool:
                return list((await desk.notices()).values()) == ["sent"]

            async def standing() -> str:
                return await desk.story(answer.json()["reference"])

            await until(sent, standing, 60)
            assert world.relay.count == 2, "the relay had the mail, but nobody could know"
            assert len(world.relay.message_ids) == 1
            assert len({mail.raw for mail in world.relay.mails}) == 1, "byte for byte the same"


class Awkward:
    """An IMAP line on which news of a mail comes together with the server's word that idling began, or in two halves."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.idling = False
        self.done = False
        self.held = b""

    async def __call__(self, data: bytes) -> AsyncIterator[bytes]:
        begins = data.lower().startswith(b"+ idling")
        self.idling = self.idling or begins
        if begins and self.how == "together" and not self.done:
            self.held = data
        elif self.idling and b"EXISTS" in data and not self.done:
            self.done = True
            if self.how == "together":
                yield self.held + data
            else:
                yield data[:5]
                await asyncio.sleep(0.3)
                yield data[5:]
        else:
            yield data


@pytest.mark.parametrize("how", ["together", "halves"])
async def test_news_of_a_mail_is_heard_in_whatever_pieces_it_comes(how: str, tmp_path: Path, valkey: PrivateValkey) -> None:
    async with outside(imap=True) as world:
        assert world.mailbox is not None
        port, line = world.mailbox.port, Awkward(how)
        async with Proxy(lambda: asyncio.open_connection("127.0.0.1", port), to_client=line) as proxy:
            environ = environment(tmp_path / "home", world, imap_port=proxy.port, redis_url=valkey.url)
            intake = Service("intake", environ)
            async with running(intake), looking_at(environ) as desk:

                async def idling() -> bool:
                    return line.idling

                await until(idling, "intake waits for mail", 30)
                await asyncio.to_thread(world.mailbox.deliver, inputs.mail(("Emma", "emma@mail.example"), "My parcel", "It never arrived."))

                async def taken() -> bool:
                    return len(await desk.references()) == 1

                async def standing() -> str:
                    return f"news passed {how}: {line.done}\n{intake.last_words()}"

                await until(taken, standing, 20)
                assert line.done
                assert "mailbox_connection_lost" not in intake.last_words(), intake.last_words()
