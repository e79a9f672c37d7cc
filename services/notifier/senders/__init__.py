"""Senders, one file a channel: each carries one composed letter to the customer and says what happened."""
