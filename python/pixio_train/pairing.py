"""Which depth image belongs to which colour image, by their stamps."""

from bisect import bisect_left
from dataclasses import dataclass

NANOS = 1_000_000_000


@dataclass(frozen=True)
class Pairs:
    """Stamps in nanoseconds, and how many colour images went without."""

    pairs: list[tuple[int, int]]
    n_too_far: int
    n_without_partner: int


def paired(color: list[int], depth: list[int], max_difference: float) -> Pairs:
    """Pairs those that are each other's nearest, at most `max_difference` seconds apart. Both lists
    ascend."""
    pairs, n_too_far, n_without = [], 0, 0
    for stamp in color:
        partner = nearest(depth, stamp)
        if partner is None or abs(partner - stamp) > max_difference * NANOS:
            n_too_far += 1
        elif nearest(color, partner) != stamp:
            n_without += 1
        else:
            pairs.append((stamp, partner))
    return Pairs(pairs, n_too_far, n_without)


def every(pairs: list[tuple[int, int]], seconds: float) -> list[tuple[int, int]]:
    """Of the pairs those that are at least this far apart."""
    taken = []
    for pair in pairs:
        if not taken or pair[0] - taken[-1][0] >= seconds * NANOS:
            taken.append(pair)
    return taken


def nearest(stamps: list[int], stamp: int) -> int | None:
    after = bisect_left(stamps, stamp)
    return min(stamps[max(0, after - 1) : after + 1], key=lambda one: abs(one - stamp), default=None)
