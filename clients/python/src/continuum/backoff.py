"""How long to wait before connecting again: full jitter, so that a crowd that lost its node does not come back as one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

BASE_MS = 1_000
"""The first delay's upper bound."""
CAP_MS = 60_000
"""No delay's upper bound is above this."""
LONGEST_HINT_MS = 3_600_000
"""No hint of a node's is followed for longer."""
STABLE_MS = 30_000
"""A connection that lived this long starts the delays from `BASE_MS` again."""


def followed(hint_ms: int) -> int:
    """For how long a hint is followed."""
    return max(0, min(hint_ms, LONGEST_HINT_MS))


@dataclass
class Backoff:
    """Delays drawn evenly from zero to a bound that doubles with every failure; attempts are never given up."""

    failures: int = 0

    @property
    def bound_ms(self) -> int:
        """The upper bound of the next delay."""
        return min(CAP_MS, BASE_MS << min(self.failures, 6))

    def failed(self, chance: float, hint_ms: int | None = None) -> int:
        """The next delay in ms, and one failure more. A hint takes its place: nodes spread their clients out themselves."""
        if hint_ms is not None:
            return followed(hint_ms)
        bound = self.bound_ms
        self.failures += 1
        return int(chance * (bound + 1))

    def lived(self, lived_ms: float) -> None:
        """A connection ended after so long; a stable one forgets the failures before it."""
        if lived_ms >= STABLE_MS:
            self.failures = 0
