"""The three services (intake, router, notifier) and the `desk` command that runs them."""
