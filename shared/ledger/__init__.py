"""The ledger: what is true. A fact holds when its row commits, and the same transaction writes the outbox row that moves it on."""

from shared.ledger.engine import Ledger

__all__ = ["Ledger"]
