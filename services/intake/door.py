"""The one way in for every channel: verify, parse, keep the files, accept; and what cannot be taken is refused or put into quarantine.

Doors that can tell the sender (HTTP, SMTP) let the refusal through; those that cannot (a polled mailbox) have it quarantined.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from services.intake.accept import INLINE_RAW, Accept, Arrival, Outcome, Receipt
from services.intake.adapter import Adapter, Delivery, Parsed
from shared.blobs import Blobs
from shared.complaint import Channel
from shared.errors import ConfigError, RuleViolation, SubmissionRejected, TooLarge, Untrusted
from shared.ledger import Ledger, quarantine
from shared.telemetry import ARRIVED

HONEYPOT = "honeypot"
"""The note an adapter leaves on a form whose hidden field was filled in."""

KEPT_HEADERS = frozenset({"content-type", "user-agent", "webhook-id", "webhook-timestamp", "accept-language"})
"""Headers worth keeping beside the raw bytes. Never those that carry secrets or cookies."""

log = structlog.get_logger()


class Door:
    """Takes deliveries for all adapters of one process."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        accounts: Mapping[str, Mapping[str, Mapping[str, str]]],
        accept: Accept,
        ledger: Ledger,
        blobs: Blobs,
    ) -> None:
        self.adapters = adapters
        self._accounts = accounts
        self._accept = accept
        self._ledger = ledger
        self._blobs = blobs

    def secret(self, adapter: Adapter, account: str) -> Mapping[str, str]:
        """The secrets of one of our accounts. Raises Untrusted for an account that is not set up."""
        if not adapter.secrets:
            return {}
        secrets = self._accounts.get(adapter.name, {}).get(account)
        if secrets is None:
            raise Untrusted(f"This desk has no {adapter.name} account of that name. Check the address, or add it to DESK_ACCOUNTS.")
        return secrets

    async def take(self, name: str, delivery: Delivery, *, idempotency: tuple[str, str] | None = None) -> list[Receipt]:
        """The receipts of what one delivery held, all safely stored. Raises what refuses it: SubmissionRejected, TemporaryFailure."""
        adapter = self.adapters[name]
        opened, verified = delivery, False
        try:
            if len(delivery.raw) > adapter.max_bytes:
                raise TooLarge(
                    f"{len(delivery.raw):,} bytes are more than the {adapter.max_bytes:,} this channel takes. Send less, or split it."
                )
            opened, verified = adapter.verify(delivery, self.secret(adapter, delivery.account)), True
            parsed = adapter.parse(opened)
        except SubmissionRejected as error:
            if verified and adapter.channel is Channel.SOCIAL:
                # The platform vouches for it, cannot mend it and would only repeat it: the customer behind it must not be lost.
                return await self._held(name, opened, error.code, error.message)
            ARRIVED.labels(name, error.code).inc()
            raise
        except Exception as error:
            # Not one of the declared refusals: the adapter's fault, not the sender's. The bytes must not be lost.
            log.exception("adapter.failed", adapter=name)
            return await self._held(name, opened, "adapter_failed", f"{type(error).__name__}: {error}")
        if any(HONEYPOT in part.submission.notes for part in parsed):
            return await self._held(name, opened, HONEYPOT, "A field that people do not see was filled in. Replay it if a person wrote it.")
        return await self.store(name, opened, parsed, idempotency=idempotency)

    async def replay(self, held: quarantine.Held) -> list[Receipt]:
        """Take what lies in quarantine after all, on a person's word: neither signature nor honeypot is asked again.

        Raises what refuses it still; then it stays where it is.
        """
        adapter = self.adapters.get(held.adapter)
        if adapter is None:
            raise RuleViolation(f"The adapter '{held.adapter}' is not installed any more. Install it, or save the bytes and discard this.")
        delivery = Delivery(raw=held.raw, account=held.account, received_at=held.first_at, headers=held.headers)
        return await self.store(held.adapter, delivery, adapter.parse(delivery))

    async def take_or_hold(self, name: str, delivery: Delivery) -> tuple[Outcome, str]:
        """For doors whose sender cannot be told: a refused delivery is quarantined. The worst outcome in it, and the reason."""
        try:
            receipts = await self.take(name, delivery)
        except SubmissionRejected as error:
            await self.hold(name, delivery, error.code, error.message)
            return Outcome.HELD, error.message
        if not receipts:
            return Outcome.RECORDED, "nothing in it to keep"
        held = next((r for r in receipts if r.outcome is Outcome.HELD), None)
        first = held or receipts[0]
        return first.outcome, first.reference

    async def hold(self, name: str, delivery: Delivery, code: str, message: str) -> str:
        """Into quarantine, raw bytes and all; the id comes back. The same bytes again only raise the count."""
        now = datetime.now(UTC)
        held = quarantine.Held(
            id=quarantine.held_id(name, delivery.account, delivery.raw),
            adapter=name,
            account=delivery.account,
            code=code,
            message=message[:1000],
            raw=delivery.raw,
            headers=_kept(delivery.headers),
            count=1,
            first_at=delivery.received_at,
            last_at=now,
            state="held",
        )
        async with self._ledger.write() as tx:
            return await quarantine.hold(tx, held)

    async def _held(self, name: str, delivery: Delivery, code: str, message: str) -> list[Receipt]:
        await self.hold(name, delivery, code, message)
        ARRIVED.labels(name, code).inc()
        return [Receipt(outcome=Outcome.HELD)]

    async def store(
        self, name: str, delivery: Delivery, parsed: Sequence[Parsed], *, idempotency: tuple[str, str] | None = None
    ) -> list[Receipt]:
        """Keep the files of what was read from a delivery and accept it: one receipt a submission, in order."""
        for part in parsed:
            for data in part.files.values():
                await self._blobs.put(data)
        raw_blob = ""
        if len(delivery.raw) > INLINE_RAW:
            raw_blob = await self._blobs.put(delivery.raw)
        headers = _kept(delivery.headers)
        arrivals = [
            Arrival(
                submission=part.submission,
                raw=delivery.raw,
                received_at=delivery.received_at,
                raw_blob=raw_blob,
                headers=headers,
                idempotency=idempotency,
                part=number,
            )
            for number, part in enumerate(parsed)
        ]
        receipts: list[Receipt] = []
        for answer in await self._accept.many(arrivals) if len(arrivals) > 1 else [await self._accept.one(a) for a in arrivals]:
            if isinstance(answer, BaseException):
                raise answer
            if answer.outcome is Outcome.HELD:
                await self.hold(name, delivery, "no_complaint", "A machine's mail that belongs to no complaint we know.")
            ARRIVED.labels(name, answer.outcome).inc()
            receipts.append(answer)
        return receipts


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:500] for name, value in headers.items() if name in KEPT_HEADERS}


def read_accounts(text: str) -> dict[str, dict[str, dict[str, str]]]:
    """DESK_ACCOUNTS: adapter -> account -> its secrets. Raises ConfigError."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, dict[str, dict[str, str]]])
    except msgspec.DecodeError as error:
        example = '{"telegram": {"shop_bot": {"secret_token": "..."}}}'
        raise ConfigError(f"DESK_ACCOUNTS cannot be read: {error}. Write it like {example}.") from None


def fingerprint(delivery: Delivery) -> str:
    """What an Idempotency-Key is bound to: the body and its type."""
    digest = hashlib.sha256(delivery.headers.get("content-type", "").split(";")[0].encode())
    digest.update(delivery.raw)
    return digest.hexdigest()
