"""Query and value projections, found by the structure of attention blocks, whatever the architecture is called.

A module counts as a block of attention in one of three cases:

- it has linear layers side by side whose names tell query, key and value apart, and keys and values read the same width;
- one of its linear layers holds all three, as its name says;
- it calls itself attention, no name of a layer says more, and one layer gives more numbers than it reads.

A module may hold several such sets, which other words in the names tell apart (of global tokens, of images). What else stands
beside them (gates, decay, projections of relative positions or of tokens of their own kind) has a longer name, makes no set,
and stays as it is. Names serve to tell layers of one shape apart, and for nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from bayespeft.layers.layer import sides_of

QUERY, KEY, VALUE = "query", "key", "value"
_ROLES = {
    **dict.fromkeys(("query", "queries", "receptance"), QUERY),
    **dict.fromkeys(("key", "keys"), KEY),
    **dict.fromkeys(("value", "values"), VALUE),
}
_LETTERS = {"q": QUERY, "k": KEY, "v": VALUE}
# Parts of names that tell nothing from another. Of a projection through a low rank, "a" is the first half and "b" the second.
_PLAIN = frozenset(
    ("attn", "b", "c", "fc", "head", "in", "layer", "lin", "linear", "proj", "project", "projection", "to", "w")
)
_FIRST_HALF = "a"


def query_and_value(model: nn.Module) -> list[str]:
    """Return the names of the layers that give queries and values in each block of attention, in the network's order.

    Where one layer gives several of them, that one. Where values are made of keys (SwiftFormer), those of queries and keys.
    """
    found: list[str] = []
    for name, module in model.named_modules():
        beside = dict(_linear(module))
        found += [f"{name}.{layer}".lstrip(".") for layer in _chosen(module, beside)]
    return list(dict.fromkeys(found))


def _linear(module: nn.Module) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the linear layers among a module's parts, each with the numbers that it reads and gives."""
    for name, part in module.named_children():
        if (own := sides_of(part)) is not None:
            yield name, own
            continue
        # A part around one layer (a clipped layer, one with its norm) is that layer.
        within = [
            (f"{name}.{below}", found) for below, child in part.named_modules() if below and (found := sides_of(child))
        ]
        if len(within) == 1 and roles_of(name)[0]:
            yield within[0]


def roles_of(name: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return what a layer's name says it gives, and what else the name says."""
    roles: set[str] = set()
    others: list[str] = []
    for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name):
        word = part.lower()
        letters = re.fullmatch(r"w?(q?k?v?)z?", word)
        if word in _ROLES:
            roles.add(_ROLES[word])
        elif letters is not None and letters[1]:
            roles |= {_LETTERS[letter] for letter in letters[1]}
        elif word not in _PLAIN:
            others.append(word)
    return (frozenset(roles), tuple(others))


def _length(others: Sequence[str]) -> int:
    return sum(2 - (word == _FIRST_HALF) for word in others)


def _chosen(module: nn.Module, beside: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return the layers among those `beside` each other that give queries and values; none where this is no attention."""
    chosen = set(_first(module, beside))
    if chosen:
        for others in {roles_of(name.split(".", 1)[0])[1] for name in beside if name not in chosen}:
            own = {name: sides for name, sides in beside.items() if roles_of(name.split(".", 1)[0])[1] == others}
            if frozenset((QUERY, KEY, VALUE)) == frozenset().union(
                *(roles_of(name.split(".", 1)[0])[0] for name in own)
            ):
                chosen |= set(_first(module, own))
    return [name for name in beside if name in chosen]


def _first(module: nn.Module, beside: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return the layers of the set whose names say the least besides."""
    says = {name: roles_of(name.split(".", 1)[0]) for name in beside}

    def best(role: str) -> str | None:
        named = [name for name, (roles, _) in says.items() if role in roles]
        return min(named, key=lambda name: _length(says[name][1]), default=None)

    query, key, value = best(QUERY), best(KEY), best(VALUE)
    is_attention = re.search(r"att(entio)?n", type(module).__name__, re.IGNORECASE) is not None
    if value is None and is_attention:
        wider = [name for name, (reads, gives) in beside.items() if gives > reads and not says[name][0]]
        value = wider[0] if len(wider) == 1 and key is None else key
    elif value is None or key is None or (key != value and beside[key][0] != beside[value][0]):
        return []
    if query is not None and query != value and hasattr(module, "pos_att_type"):
        # Queries of relative positions, which belong to no example, are made by the same layer (DeBERTa).
        query = None
    elif query is None and not is_attention:
        return []
    return [name for name in beside if name in (query, value)]
