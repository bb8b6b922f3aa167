"""The one exception users are meant to see: a line that names the file or value and the remedy."""


class InputError(ValueError):
    """Something in the user's files or options is wrong; scripts print it as one line, without a traceback."""
