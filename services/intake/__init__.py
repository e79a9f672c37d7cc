"""Intake: takes what arrives on any channel, stores it, and gives the sender a receipt."""
