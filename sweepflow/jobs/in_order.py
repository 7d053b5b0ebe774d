"""Structures whose dicts keep the order of their keys through `jax.tree`, which sorts them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import jax

from sweepflow.jobs.varying_number import VaryingNumber

SORTED = (dict, defaultdict)
"""Types whose keys `jax.tree` reorders; an `OrderedDict` keeps its own order."""


@jax.tree_util.register_pytree_node_class
class _InOrder:
    """A dict whose leaves are in the order of its keys; unflattening gives a dict again."""

    def __init__(self, factory: tuple[Any, ...], items: dict[Any, Any]) -> None:
        self._factory, self._items = factory, items

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[tuple[Any, ...], ...]]:
        """Return the values; the default factory of a defaultdict, and the keys."""
        return tuple(self._items.values()), (self._factory, tuple(self._items))

    @staticmethod
    def tree_unflatten(of: tuple[tuple[Any, ...], ...], values: tuple[Any, ...]) -> dict[Any, Any]:
        """Return the dict."""
        factory, keys = of
        items = dict(zip(keys, values, strict=True))
        return defaultdict(factory[0], items) if factory else items


def in_order(structure: Any) -> Any:
    """Return a structure for `jax.tree.flatten`, whose dicts keep the order of their keys when unflattened.

    >>> leaves, of = jax.tree.flatten(in_order([{"b": 1, "a": {"d": 2, "c": 3}}]))
    >>> jax.tree.unflatten(of, leaves)
    [{'b': 1, 'a': {'d': 2, 'c': 3}}]
    """
    if type(structure) in SORTED:
        factory = (structure.default_factory,) if type(structure) is defaultdict else ()
        return _InOrder(factory, {key: in_order(value) for key, value in structure.items()})
    leaves, of = jax.tree.flatten(structure, is_leaf=lambda leaf: type(leaf) in (*SORTED, VaryingNumber))
    if not any(type(leaf) in SORTED for leaf in leaves):
        return structure
    return jax.tree.unflatten(of, list(map(in_order, leaves)))
