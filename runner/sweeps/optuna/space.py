"""The search space: the values of each key, and the override that sets one."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Choice:
    """One of several values, each as typed on the command line."""

    key: str
    values: Sequence[str]

    def __str__(self) -> str:
        """Return the override that defines this parameter."""
        return f"{self.key}=choice({','.join(self.values)})"

    def override(self, value: str) -> str:
        """Return the override that sets this value."""
        return f"{self.key}={value}"

    def examples(self) -> list[str]:
        """Return overrides that test every value against the config."""
        return [self.override(value) for value in self.values]


@dataclass(frozen=True)
class Numbers:
    """Numbers from `low` to `high` inclusive: integers if `low` is one, in steps if `step` is given."""

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether the numbers are integers."""
        return isinstance(self.low, int)

    def __str__(self) -> str:
        """Return the override that defines this parameter."""
        if self.step is not None:
            end = self.high + self.step if self.whole else float(Decimal(str(self.high)) + Decimal(str(self.step)))
            return f"{self.key}=range({self.low!r},{end!r},{self.step!r})"
        tags = "".join(f"{tag}," for tag, is_set in (("int", self.whole), ("log", self.log)) if is_set)
        interval = f"interval({self.low!r},{self.high!r})"
        return f"{self.key}={f'tag({tags}{interval})' if tags else interval}"

    def override(self, value: float) -> str:
        """Return the override that sets this value, free of rounding noise from adding steps."""
        if self.step is None or self.whole:
            return f"{self.key}={value!r}"
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        return f"{self.key}={float(low + step * round((value - self.low) / self.step))!r}"

    def examples(self) -> list[str]:
        """Return an override that tests one value against the config."""
        if self.step is not None:
            return [self.override(self.low)]
        middle = (self.low * self.high) ** 0.5 if self.log else self.low + (self.high - self.low) / 2
        return [self.override(round(middle) if self.whole else middle)]


Parameter = Choice | Numbers
