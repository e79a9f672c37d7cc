"""Notifier: keeps the customer informed on the channel they came by."""
