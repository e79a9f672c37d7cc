"""What all three services speak: the schema, the ledger, the queues, the policy. Imports nothing from services."""
