"""Text of bounded length, for messages: what is given may have millions of characters."""

MAX_VALUE = 60  # characters of a value in a message


def shortened(text: str, length: int = MAX_VALUE) -> str:
    """The text, cut where it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def quoted(value: object) -> str:
    """The value as Python writes it, cut where that is longer."""
    return shortened(repr(value))
