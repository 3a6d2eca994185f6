"""Text for the terminal of what files say of themselves."""


def safe(value: object) -> str:
    """Return text whose control characters cannot reach the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
