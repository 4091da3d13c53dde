"""Exceptions, each with what the caller must do about it."""

from __future__ import annotations

from typing import Any


class CliffwatchError(Exception):
    """Base of all our errors. The text is one line, readable for people.

    Attributes:
        message: the text with placeholders in braces, which is its key in the translation catalogues.
        values: values of the placeholders.
    """

    def __init__(self, message: str = "", **values: Any) -> None:
        super().__init__(message.format(**values) if values else message)
        self.message, self.values = message, values


class InputError(CliffwatchError):
    """The user typed something that we cannot parse. Answer with the text and the example; nothing is lost."""

    def __init__(self, message: str, example: str = "", **values: Any) -> None:
        super().__init__(message, **values)
        self.example = example


class SettingError(CliffwatchError):
    """A setting is unknown or has a bad value. Print the text and end with exit code 2."""


class TokenRefusedError(SettingError):
    """A platform refuses the token at the very first connect. Print the text and end with exit code 2."""


class HistoryError(CliffwatchError):
    """A recorded history cannot be used as it is. Print the text, which names the file and the line."""


class ImplausibleError(CliffwatchError):
    """A figure from outside is implausible. Reject it, count it and go on without it; never average it in."""


class VenueError(CliffwatchError):
    """A venue did not answer. Leave it out, say so, and retry with back-off, not before retry_after seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class VenueRefusedError(VenueError):
    """The venue refuses this location. Retry slowly; only a proxy helps."""


class StorageError(CliffwatchError):
    """The database cannot be used. Stop before anything is lost."""


class OffloadError(CliffwatchError):
    """A computation in a separate process failed. Its stderr is in the log."""


class NotReadyError(CliffwatchError):
    """The first map is not ready yet. Say so and ask the user to try again shortly."""
