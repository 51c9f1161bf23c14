"""What a bounded store of exemplars holds, by which of them leave first."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .teaching_fit import Exemplars


def kept(
    stream: Exemplars, n_classes: int, capacity: int, leaves: Callable[[Exemplars, int], int]
) -> Exemplars:
    """What is left of `stream` where a class has room for `capacity`. `leaves` says which goes, of those that
    are there with the new one as the last and of how many there have been."""
    stores = []
    for label in range(n_classes):
        mine = stream[(stream.label == label).nonzero()[:, 0]]
        store = mine[: min(capacity, len(mine))]
        for n_seen in range(capacity + 1, len(mine) + 1):
            store = joined([store, mine[n_seen - 1 : n_seen]])
            store = store[torch.arange(len(store)) != leaves(store, n_seen)]
        stores.append(store)
    return joined(stores)


def joined(some: list[Exemplars]) -> Exemplars:
    return Exemplars(
        *(torch.cat([getattr(one, name) for one in some]) for name in ("frame", "patch", "label"))
    )


def oldest(_draw: np.random.Generator, _vectors: Tensor, _store: Exemplars, _n_seen: int) -> int:
    return 0


def drawn(draw: np.random.Generator, _vectors: Tensor, store: Exemplars, n_seen: int) -> int:
    """All that there have been stay with the same probability."""
    capacity = len(store) - 1
    return int(draw.integers(capacity)) if draw.random() < capacity / n_seen else capacity


def most_alike(_draw: np.random.Generator, vectors: Tensor, store: Exemplars, _n_seen: int) -> int:
    """The older one of the two whose `vectors` [F, P, C], of length 1, are most alike."""
    mine = vectors[store.frame, store.patch]
    alike = (mine @ mine.T).fill_diagonal_(-2)
    return int(alike.argmax()) // len(store)


POLICIES = {"oldest": oldest, "drawn": drawn, "most alike": most_alike}
