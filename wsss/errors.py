"""The exceptions users are meant to see: lines that name the file or value and the remedy."""

from collections.abc import Sequence


class InputError(ValueError):
    """Something in the user's files or options is wrong; scripts print it as one line, without a traceback."""


class FaultyDataError(InputError):
    """A data set has faults; scripts print a line for each.

    Args:
        messages: one for each.
    """

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = list(messages)
