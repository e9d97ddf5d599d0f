"""The errors of the domain: each is named for what happened and carries its facts."""

from __future__ import annotations


class ObservatoryError(Exception):
    """Base of every error that the Observatory raises on purpose."""


class NotFound(ObservatoryError):
    """The thing asked for does not exist."""

    def __init__(self, noun: str, identifier: str) -> None:
        super().__init__(f"There is no {noun} with the id {identifier!r}.")
        self.noun = noun
        self.identifier = identifier


class InvalidParameter(ObservatoryError):
    """A value that a client sent can not be used; ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Conflict(ObservatoryError):
    """A request contradicts what is stored; the message says how."""


class Unauthorized(ObservatoryError):
    """A request has no credentials, or such as do not hold.

    ``reason`` is one of ``metrics.AUTH_REASONS``. ``is_expired`` tells that the token was good
    once, so that a client can get the next one.
    """

    def __init__(self, message: str, *, reason: str = "session", is_expired: bool = False) -> None:
        super().__init__(message)
        self.reason = "expired" if is_expired else reason
        self.is_expired = is_expired


class Forbidden(ObservatoryError):
    """Who asks may not do this; the message says what it takes.

    ``reason`` is one of ``metrics.AUTH_REASONS`` when it is for who asks, or from where.
    """

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class TooManyAttempts(ObservatoryError):
    """Too many passwords were tried; the next one is taken after ``retry_after`` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("Too many attempts to sign in; try again later.")
        self.retry_after = retry_after


class TooManyStreams(ObservatoryError):
    """As many streams are open as there may be, in all or for one client."""

    def __init__(self) -> None:
        super().__init__("Too many streams are open; close one, or try again later.")


class PreconditionFailed(ObservatoryError):
    """The thing was changed since the client read it."""

    def __init__(self) -> None:
        super().__init__("It was changed since you read it; read it again and repeat the change.")


class SettingsError(ObservatoryError):
    """One or more settings are wrong; ``problems`` maps each variable to what it takes."""

    def __init__(self, problems: dict[str, str]) -> None:
        listed = "\n".join(f"  {name}: {problem}" for name, problem in sorted(problems.items()))
        super().__init__(f"These settings are wrong:\n{listed}")
        self.problems = problems


class LockHeld(ObservatoryError):
    """Another process does the work that only one may do at a time."""

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(f"{holder} holds {path}. Wait for it to end, or use --wait SECONDS.")
        self.path = path
        self.holder = holder


class DatabaseInUse(ObservatoryError):
    """Another process has the database open; ``user`` says which."""

    def __init__(self, path: str, user: str) -> None:
        super().__init__(f"{user} has {path} open. End it first, and then do this again.")
        self.path = path
        self.user = user


class BackupError(ObservatoryError):
    """A backup can not be made or used; the message says why and what to do."""


class CompactingRefused(ObservatoryError):
    """The database is not written anew just now; the message says why and what to do."""


class SchemaError(ObservatoryError):
    """The database can not be used as it is: the message names the command that mends it."""


class DatabaseReplaced(ObservatoryError):
    """A file of the database was moved, deleted or replaced while it was in use."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}, or the -wal or -shm beside it, was moved, deleted or replaced while it was in"
            " use. Put it back, or start what uses it again."
        )


class MalformedRecord(ObservatoryError):
    """A line of a transcript can not be read; ``reason`` says why, without its text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TimeLimitReached(ObservatoryError):
    """The work was ended because it took longer than a request may; nothing of it is kept."""

    def __init__(self) -> None:
        super().__init__("It took longer than REQUEST_TIMEOUT_MS and was ended; ask for less.")


class TooLarge(ObservatoryError):
    """What a client sent is larger than ``max_bytes``, as it came or unpacked."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"Larger than {max_bytes} bytes; MAX_REQUEST_SIZE_MB sets the limit.")
        self.max_bytes = max_bytes


class FileOutside(ObservatoryError):
    """A path leads out of the folders that may be read, whether or not something is there."""

    def __init__(self) -> None:
        super().__init__("Takes an absolute path in a folder that transcripts are read from.")


class NoRoom(ObservatoryError):
    """Something takes more room than there is; the message says how much, and of what."""


class ArchiveFileError(ObservatoryError):
    """An archive can not be exported or imported; the message says why and what to do."""
