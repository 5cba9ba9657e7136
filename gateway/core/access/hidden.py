"""A secret as a value: it compares and pickles like the text it holds, and shows itself to nobody."""


class Hidden:
    """`reveal` is the one way to the text, so that whoever uses a secret says so."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


NOTHING_HIDDEN = Hidden("")
