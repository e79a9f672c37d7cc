"""Department queues on Redis, and the relay that fills them from the ledger."""
