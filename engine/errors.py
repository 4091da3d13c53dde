"""What can go wrong, by what the caller must do about it."""

from __future__ import annotations

from typing import Any


class CliffwatchError(Exception):
    """Base of all errors of this program. The text is one line, fit for a person to read.

    Attributes:
        message: the text with names in braces where values stand, as it is looked up in a catalogue of translations.
        values: what stands there.
    """

    def __init__(self, message: str = "", **values: Any) -> None:
        super().__init__(message.format(**values) if values else message)
        self.message, self.values = message, values


class InputError(CliffwatchError):
    """Somebody typed something that cannot be understood. Answer with the text and the example; nothing is lost."""

    def __init__(self, message: str, example: str = "", **values: Any) -> None:
        super().__init__(message, **values)
        self.example = example


class SettingError(CliffwatchError):
    """A setting is unknown or has a bad value. Print the text and end with exit code 2."""


class TokenRefusedError(SettingError):
    """A platform refuses the token at the very first connect. Print the text and end with exit code 2."""


class HistoryError(CliffwatchError):
    """A recorded history cannot be used as it stands. Print the text, which names the file and the line."""


class ImplausibleError(CliffwatchError):
    """A figure from outside cannot be true. Refuse it, count it, go on without it; never average it in."""


class VenueError(CliffwatchError):
    """A venue did not answer. Leave it out, say so, try again with back-off, not before retry_after seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class VenueRefusedError(VenueError):
    """The venue refuses this location. Try again slowly; a proxy is what helps."""


class StorageError(CliffwatchError):
    """The database cannot be used. Stop before anything is lost."""


class OffloadError(CliffwatchError):
    """A computation in a process of its own failed there. The log has its words."""


class NotReadyError(CliffwatchError):
    """The first map is not there yet. Say so and ask to try again shortly."""
