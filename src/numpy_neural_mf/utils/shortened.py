"""Text of bounded length for messages, as a value may have millions of characters."""

MAX_VALUE = 60  # characters of a value in a message


def shortened(text: str, length: int = MAX_VALUE) -> str:
    """Return the text, truncated if it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def quoted(value: object) -> str:
    """Return the value's `repr`, truncated if it is longer."""
    return shortened(repr(value))
