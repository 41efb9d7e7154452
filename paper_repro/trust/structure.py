"""A saved posterior that says what can't be: values, types, sizes; with digests as they were, and with digests that fit."""

from __future__ import annotations

import copy
import json
import math
import struct
from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load, save

from bayespeft.io import checkpoint
from paper_repro.trust.outcome import Tally
from paper_repro.trust.subject import Subject, sealed

Settings = dict[str, Any]
# Of each key, what it can't be.
NOTHINGS: tuple[Any, ...] = (None, 3, "x", [], {}, [1], -1, 1.5, True, 10**30, "9" * 400)
KINDS: tuple[Any, ...] = ("os", "../x", "base", "", "__init__", "lora\0", "core.core", "melora", 3, None, [], {})


def structure(subject: Subject) -> list[Tally]:
    """Return what came of a posterior whose files were changed, cut, or exchanged."""
    stale = Tally("structural faults in a saved posterior")
    resealed = Tally("the same impossible values under digests that fit")
    settings = json.loads((subject.posterior / checkpoint.SETTINGS).read_text())
    name = settings["tensors"]["file"]
    content = (subject.posterior / name).read_bytes()
    for what, changed in _settings(settings):
        folder = subject.copy(subject.posterior)
        (folder / checkpoint.SETTINGS).write_text(json.dumps(changed))
        stale.attempt(what, lambda at=folder: subject.loaded(at), subject.expected)
        if isinstance(changed.get("tensors"), dict) and what not in MEANT:
            sealed(folder, changed)
            resealed.attempt(what, lambda at=folder: subject.loaded(at), subject.expected)
    for what, raw in _texts((subject.posterior / checkpoint.SETTINGS).read_bytes()):
        folder = subject.copy(subject.posterior)
        (folder / checkpoint.SETTINGS).write_bytes(raw)
        stale.attempt(what, lambda at=folder: subject.loaded(at), subject.expected)
    for what, raw in _tensors(content):
        folder = subject.copy(subject.posterior)
        (folder / name).write_bytes(raw)
        stale.attempt(what, lambda at=folder: subject.loaded(at), subject.expected)
        if what not in MEANT:
            sealed(folder, settings, raw)
            resealed.attempt(what, lambda at=folder: subject.loaded(at), subject.expected)
    return [stale, resealed]


# Under digests that fit these are other posteriors, and no errors: nobody can tell them from what somebody fitted.
MEANT = frozenset({"temperature 2", "alpha 999", "packs exchanged", "another seed", "another version"})


def _settings(good: Settings) -> Iterator[tuple[str, Settings]]:
    def at(path: str, value: Any) -> Settings:
        changed = copy.deepcopy(good)
        *ways, last = path.split("/")
        place = changed
        for way in ways:
            place = place[way]
        place[last] = value
        return changed

    for key in good:
        if key in ("tensors", "sha256"):
            continue
        yield f"without {key}", {name: value for name, value in good.items() if name != key}
        for value in NOTHINGS:
            if not _possible(key, value):
                yield f"{key} = {value!r:.20}", at(key, value)
    site = next(iter(good["sites"]))
    for value in (-1, 0, math.inf, -math.inf, math.nan, True, "2", None, 1e400):
        yield f"temperature {value}", at("temperature", value)
    yield "temperature 2", at("temperature", 2.0)
    yield "alpha 999", at(f"sites/{site}/alpha", 999.0)
    yield "another seed", at("seed", 17)
    yield "another version", at("bayespeft", "99.0")
    for value in (0, -1, 4, 10**5, 10**9, 10**18, 10**30, 2.5, "8", None, True):
        yield f"rank {value}", at(f"sites/{site}/r", value)
    for value in (2500, 15_000, 10**6):
        everywhere = copy.deepcopy(good)
        for adapter in everywhere["sites"].values():
            if "r" in adapter:
                adapter["r"] = value
        yield f"rank {value} everywhere", everywhere
    for kind in KINDS:
        yield f"adapter {kind!r}", at(f"sites/{site}/kind", kind)
        yield f"guide {kind!r}", at("method/guide/kind", kind)
        yield f"likelihood {kind!r}", at("likelihood/kind", kind)
    for guide in (
        {"kind": "ensemble", "members": 10**9},
        {"kind": "low_rank", "rank": 10**8},
        {"kind": "swag", "rank": 10**9},
    ):
        yield f"guide {guide}", at("method/guide", guide)
    for key in ("unknown", "Temperature", "__class__"):
        yield f"an unknown key {key}", at(key, 1)
    yield "an unknown key of the guide", at("method/guide/unknown", 1)
    yield "an unknown key of an adapter", at(f"sites/{site}/unknown", 1)
    yield "a layer that the network lacks", at("sites/nowhere", good["sites"][site])
    yield "a layer outside", at("sites", {**good["sites"], "../../x": good["sites"][site]})
    yield "a layer fewer", at("sites", {name: one for name, one in good["sites"].items() if name != site})
    yield "no fingerprint", at("base/fingerprint", {})
    yield "a fingerprint of others", at("base/fingerprint", dict.fromkeys(good["base"]["fingerprint"], "0"))
    for value in ([""], ["nowhere"], [site], ["0", "0"]):
        yield f"heads {value}", at("heads", value)
    yield "idle layers", at("idle", [site])
    for value in (1, 2, 4, 7, 10**9, 2.7, 0, -1):
        yield f"classes {value}", at("classes", value)
    for value in (-1, 10**30, 2**40, 1.5, "x"):
        yield f"seed {value}", at("seed", value)
    yield "merged steps", at("merged", {"0": 3})
    yield "a broken record", at("history/records", [{"step": "x"}])
    yield "nesting", at("unknown", json.loads("[" * 400 + "]" * 400))


def _possible(key: str, value: Any) -> bool:
    """Whether a key may have this value: then another posterior is described, and none that is impossible."""
    return {
        "bayespeft": isinstance(value, str),
        "format": False,
        "heads": value == [],
        "idle": value == [],
        "seed": value == 3 and value is not True,
        "temperature": value in (3, 1.5, 10**30) and value is not True,
        "merged": value is None,
        "history": value == {},
    }.get(key, False)


def _texts(good: bytes) -> Iterator[tuple[str, bytes]]:
    for cut in (0, 1, 100, len(good) // 2, len(good) - 3):
        yield f"JSON cut at {cut}", good[:cut]
    yield "not UTF-8", b"\xff\xfe" + good
    yield "UTF-16", good.decode().encode("utf-16")
    for text in (b"[]", b"null", b"3", b'"x"', b"{}", b"true", b"\0" * 100):
        yield f"JSON is {text[:8]!r}", text
    yield "nested 100,000 deep", b'{"format": 2, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "objects nested 100,000 deep", b'{"x": ' * 100_000 + b"1" + b"}" * 100_000
    yield "a number of 100,000 digits", good.replace(b'"seed": 0', b'"seed": ' + b"9" * 100_000)
    yield (
        "a key twice",
        good.replace(b'"temperature"', b'"temperature": -1, "temperature"', 1).replace(b"1.0", b"2.0", 1),
    )
    yield "a long string", json.dumps({"format": 2, "x": "x" * 10_000_000}).encode()


def _tensors(good: bytes) -> Iterator[tuple[str, bytes]]:
    named = load(good)
    length = struct.unpack("<Q", good[:8])[0]
    header, data = json.loads(good[8 : 8 + length]), good[8 + length :]

    def raw(changed: Any) -> bytes:
        text = json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + data

    def entry(name: str, **values: Any) -> bytes:
        return raw({**header, name: {**header[name], **values}})

    for cut in (0, 1, 7, 8, 100, len(good) - 1):
        yield f"tensors cut at {cut}", good[:cut]
    yield "trailing bytes", good + b"xx"
    yield "a header of 2^63 bytes", struct.pack("<Q", 2**63) + good[8:]
    yield "a header of 90 MB", struct.pack("<Q", 90_000_000) + good[8:]
    yield "a header that is a list", struct.pack("<Q", 2) + b"[]" + data
    yield "no tensor", save({})
    yield "an unknown tensor", save({**named, "unknown": torch.zeros(2)})
    yield "an unknown merge", save({**named, "merged/x": torch.zeros(2)})
    yield "an unknown center", save({**named, "center/x": torch.zeros(2)})
    names = list(named)
    for one in names:
        yield f"without {one}", save({name: value for name, value in named.items() if name != one})
        for value in (math.nan, math.inf):
            spoiled = named[one].clone()
            spoiled.view(-1)[0] = value
            yield f"{value} in {one}", save({**named, one: spoiled})
        for dtype in (torch.float64, torch.float16, torch.int32, torch.bool, torch.bfloat16):
            yield f"{one} as {dtype}", save({**named, one: named[one].to(dtype)})
        for dtype in ("I32", "U32", "F64", "X9", 3):
            yield f"{one} is said to be {dtype}", entry(one, dtype=dtype)
        yield f"{one} is flat", save({**named, one: named[one].flatten()})
        yield f"{one} is longer", save({**named, one: torch.cat([named[one], named[one]])})
        for shape in ([10**6, 10**6, 10**6], [2**32, 2**32, 1], [-1], "x"):
            yield f"{one} is said to be {shape}", entry(one, shape=shape)
        yield f"{one} lies beyond the file", entry(one, data_offsets=[0, 10**12])
    first, second = next(
        (a, b) for i, a in enumerate(names) for b in names[i + 1 :] if named[a].shape == named[b].shape and a != b
    )
    yield "packs exchanged", save({**named, first: named[second].clone(), second: named[first].clone()})
    yield "offsets overlap", entry(first, data_offsets=header[second]["data_offsets"])
