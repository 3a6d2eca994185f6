"""What a search may choose: the values of each key, and how one of them is written on the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Choice:
    """One of several values, each as it is written on the command line."""

    key: str
    words: Sequence[str]

    def __str__(self) -> str:
        """Say it as one would type it."""
        return f"{self.key}=choice({','.join(self.words)})"

    def word(self, value: str) -> str:
        """Return the override that sets this value."""
        return f"{self.key}={value}"

    def examples(self) -> list[str]:
        """Return the overrides that show whether the key can have what it may be given."""
        return [self.word(value) for value in self.words]


@dataclass(frozen=True)
class Numbers:
    """Numbers from `low` to `high`, both included: whole ones if `low` is, with a step if there is one."""

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether the numbers are whole ones."""
        return isinstance(self.low, int)

    def __str__(self) -> str:
        """Say it as one would type it."""
        if self.step is not None:
            end = self.high + self.step if self.whole else float(Decimal(str(self.high)) + Decimal(str(self.step)))
            return f"{self.key}=range({self.low!r},{end!r},{self.step!r})"
        tags = "".join(f"{tag}," for tag, is_set in (("int", self.whole), ("log", self.log)) if is_set)
        interval = f"interval({self.low!r},{self.high!r})"
        return f"{self.key}={f'tag({tags}{interval})' if tags else interval}"

    def word(self, value: float) -> str:
        """Return the override that sets this value; of a step, without the noise of adding it up."""
        if self.step is None or self.whole:
            return f"{self.key}={value!r}"
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        return f"{self.key}={float(low + step * round((value - self.low) / self.step))!r}"

    def examples(self) -> list[str]:
        """Return the override that sets one from amid them."""
        if self.step is not None:
            return [self.word(self.low)]
        middle = (self.low * self.high) ** 0.5 if self.log else self.low + (self.high - self.low) / 2
        return [self.word(round(middle) if self.whole else middle)]


Parameter = Choice | Numbers
