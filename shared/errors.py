"""Every failure the product speaks of, sorted by whose fault it is and what happens next (docs/architecture.md, "Errors").

Each class's docstring is its default message; `code` is the stable machine word shown to callers and kept in quarantine rows.
Anything that is not a DeskError is our own fault: it goes to a dead letter with the raw bytes and the traceback.
"""

from __future__ import annotations


class DeskError(Exception):
    """Something went wrong."""

    code = "desk_error"
    status = 500

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())

    @property
    def message(self) -> str:
        return str(self.args[0])


class SubmissionRejected(DeskError):
    """The submission cannot be taken. Mend it and send it again."""

    code = "submission_rejected"
    status = 400


class Unreadable(SubmissionRejected):
    """The submission cannot be read as what it claims to be."""

    code = "unreadable"
    status = 422


class Untrusted(SubmissionRejected):
    """The signature is missing or wrong."""

    code = "untrusted"
    status = 401


class TooLarge(SubmissionRejected):
    """The submission is larger than this desk takes."""

    code = "too_large"
    status = 413


class RuleViolation(DeskError):
    """That cannot be done now."""

    code = "rule_violation"
    status = 409


class IllegalTransition(RuleViolation):
    """The complaint is not in a state that allows this."""

    code = "illegal_transition"


class LeaseLost(RuleViolation):
    """The lease has expired or belongs to somebody else. Claim again."""

    code = "lease_lost"


class Raced(RuleViolation):
    """Somebody else changed the complaint meanwhile. Read it again and repeat."""

    code = "changed_meanwhile"


class UnknownReference(RuleViolation):
    """There is no complaint with that reference."""

    code = "unknown_reference"
    status = 404


class UnknownBlob(RuleViolation):
    """The bytes of that attachment are not in the blob store."""

    code = "unknown_blob"
    status = 404


class KeyReused(RuleViolation):
    """This Idempotency-Key was used before with another body. Use a new key for a new request."""

    code = "idempotency_key_reused"
    status = 422


class InProgress(RuleViolation):
    """A request with this Idempotency-Key is still being worked on. Try again in a moment."""

    code = "idempotency_in_progress"


class NotAllowed(RuleViolation):
    """This key may not do that. Ask the operator for one with the right scope."""

    code = "not_allowed"
    status = 403


class TemporaryFailure(DeskError):
    """Something we need is not answering. Nothing was stored; try again."""

    code = "temporary_failure"
    status = 503

    def __init__(self, message: str = "", *, retry_after: float | None = None, uncertain: bool = False) -> None:
        """`retry_after` in seconds, where the failing side said one or we know one.

        `uncertain`: the other side may have done what was asked although we never heard so; repeat it only where repeating does no harm.
        """
        super().__init__(message)
        self.retry_after = retry_after
        self.uncertain = uncertain


class Undeliverable(DeskError):
    """The recipient cannot be reached on this channel."""

    code = "undeliverable"

    def __init__(self, message: str = "", *, lasting: bool = False) -> None:
        """`lasting`: the address itself is dead, so that later letters to it are in vain too."""
        super().__init__(message)
        self.lasting = lasting


class IncompleteNotice(DeskError):
    """The notice lacks something its wording needs. Add it to the notice's detail and send the notice again."""

    code = "incomplete_notice"


class ConfigError(DeskError):
    """The configuration is wrong."""

    code = "config_error"
