"""Climbs: a lower room of the package calls a function that was made in a higher one.

    python -m paper_repro.house.walk [--method melora] [--list]

Imports go down only, so what a lower room calls in a higher one was handed to it. What a posterior is used for (`USES`: fitted,
predicted and reported with, calibrated, saved and loaded, frozen, written with, pushed to a hub that is none) runs on tiny
networks under `sys.setprofile`. A call goes up where the function that is called stands in a higher room than the nearest
function of the package on the stack; rooms are ordered by the layers of the import contract in pyproject.toml. Such a call is
one of two kinds.

- By an interface: a method that a base class or a protocol declares, which stands in the caller's room or below; one that a
  base class of another package declares (pydantic runs validators, torch a module's `forward`); or one of the caller's own
  object. Whoever reads the lower room sees there what it calls.
- A climb: all else. A closure, a function or a bound method was handed down, and the lower room doesn't say what it is. Those
  in `HONEST` are not counted: there is a reason for each.

Decorators that check arguments or take a lock are seen through. It is said of a climb whether functions of another package
stand between: torch runs the hooks that were put on a network. Each pair of functions counts once, however often it calls.

Walks follow one argument. A function is on the walk of `fit`'s guide where it is given (as an argument, or as the object that
it is a method of) a method, the settings of a guide or a guide; on a walk of data, where it is given the data as the user
passed them, or rows, examples or batches of them. A walk has so many rooms (folders) and modules of these functions, and the
climbs in which the function that is called is one of them.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import mock

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same, for Python 3.10
    import tomli as tomllib

import bayespeft
from bayespeft import TrainConfig
from bayespeft.config import Config
from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.data.source import Source
from bayespeft.guides.base import Guide, GuideSpec
from bayespeft.methods.base import Method
from bayespeft.testing import networks
from bayespeft.variational.joint_guide import JointGuide
from paper_repro.results import append

EXPERIMENT = "climbs"
# These wrap other functions, whatever room they are of.
SEEN_THROUGH = ("bayespeft.utils.checks", "bayespeft.utils.threads")
GUIDE = (GuideSpec, Method, Guide, JointGuide)
DATA = (Source, Examples, Batch)

Pair = tuple[str, str]

# Calls of what was made above that are right as they are: the called function, and why.
HONEST = {
    "prediction.frozen:FrozenAdapter.hook": "a frozen network is plain PyTorch, whose modules run the hooks on them",
}


def layers() -> dict[str, int]:
    """Return the height of each room, 0 at the bottom, as the import contract orders them."""
    config = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(c for c in config["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    rows = [row.split("|") for row in reversed(contract["layers"])]
    return {room.strip(): height for height, row in enumerate(rows) for room in row}


@dataclass
class Walk:
    """Where functions of the package stand that are given one of these objects, and the climbs into them.

    Attributes:
        kinds: classes of the objects.
        argument: an object that is followed whatever its class is, or None.
    """

    kinds: tuple[type, ...]
    argument: Any = None
    modules: set[str] = field(default_factory=set)
    climbs: set[Pair] = field(default_factory=set)

    @property
    def rooms(self) -> set[str]:
        """Folders, and modules of the top floor."""
        return {module.split(".")[0] for module in self.modules}

    def passes(self, frame: FrameType) -> bool:
        """Whether a function is given what is followed."""
        return any(
            isinstance(value, self.kinds) or (self.argument is not None and value is self.argument)
            for value in _arguments(frame)
        )


class Climbs:
    """Collects calls that go up while it is the profiler.

    Attributes:
        interface: (caller, called) by an interface that the lower room knows.
        climbs: the same of all else, directly.
        through: the same where functions of other packages stand between.
    """

    def __init__(self, heights: dict[str, int], walks: tuple[Walk, ...] = ()) -> None:
        self._heights, self._walks = heights, walks
        self._protocols: list[tuple[type, set[str]]] = []
        self._loaded = 0
        self.interface: set[Pair] = set()
        self.climbs: set[Pair] = set()
        self.through: set[Pair] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Look at a call."""
        if event != "call" or (height := self._height(frame)) is None:
            return
        caller, foreign = frame.f_back, False
        while caller is not None and self._height(caller) is None:
            if caller.f_code.co_name == "<module>" or "importlib" in caller.f_code.co_filename:
                return
            foreign |= caller.f_globals.get("__name__") not in SEEN_THROUGH
            caller = caller.f_back
        walked = [walk for walk in self._walks if walk.passes(frame)]
        for walk in walked:
            walk.modules.add(_module(frame))
        if caller is None or (below := self._height(caller)) is None or below >= height:
            return
        pair = told(caller), told(frame)
        if pair[1] in HONEST:
            return
        if self._declared(frame, caller, below):
            self.interface.add(pair)
            return
        (self.through if foreign else self.climbs).add(pair)
        for walk in walked:
            walk.climbs.add(pair)

    def _height(self, frame: FrameType) -> int | None:
        """Return how high the function stands; None if it is none of the package's, or one that is seen through."""
        name = frame.f_globals.get("__name__", "")
        if name in SEEN_THROUGH or frame.f_code.co_name == "<module>":
            return None
        return self._heights.get(".".join(name.split(".")[:2]))

    def _stands(self, cls: type) -> int:
        """Return how high a class stands; -1 for one of another package, which every room may know."""
        return self._heights.get(".".join(cls.__module__.split(".")[:2]), -1)

    def _declared(self, frame: FrameType, caller: FrameType, below: int) -> bool:
        """Whether a call is that of a method which the caller's room knows by a base class or a protocol."""
        owner = _owner(frame)
        if owner is None:
            return False
        cls, name = owner if isinstance(owner, type) else type(owner), frame.f_code.co_name
        if owner is _owner(caller) or (issubclass(cls, Config) and name in _validators(cls)):
            return True
        if any(name in vars(base) for base in cls.__mro__ if base is not object and self._stands(base) <= below):
            return True
        return any(
            name in members and all(hasattr(cls, other) or hasattr(owner, other) for other in members)
            for protocol, members in self._known_protocols()
            if self._stands(protocol) <= below
        )

    def _known_protocols(self) -> list[tuple[type, set[str]]]:
        """Return the protocols of all modules that are imported by now: some are when they are needed."""
        if len(sys.modules) != self._loaded:
            self._protocols, self._loaded = list(self._found_protocols()), len(sys.modules)
        return self._protocols

    def _found_protocols(self) -> Iterator[tuple[type, set[str]]]:
        """Yield each protocol of the package, and the names that it declares."""
        for module in [module for name, module in sorted(sys.modules.items()) if name.startswith("bayespeft")]:
            for cls in list(vars(module).values()):
                if getattr(cls, "_is_protocol", False) and cls.__module__ == module.__name__:
                    own = [base for base in cls.__mro__ if base.__module__.startswith("bayespeft")]
                    names = {name for base in own for name in [*vars(base), *inspect.get_annotations(base)]}
                    yield cls, {name for name in names if not name.startswith("_")}


def _arguments(frame: FrameType) -> Iterator[Any]:
    """Yield what a function is called with."""
    code = frame.f_code
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        if name in frame.f_locals:
            yield frame.f_locals[name]


def _owner(frame: FrameType) -> Any:
    """Return the object, or the class, whose method a function is; None where it is none."""
    owner = next(_arguments(frame), None)
    cls, name = owner if isinstance(owner, type) else type(owner), frame.f_code.co_name
    return owner if any(_code(vars(base).get(name)) is frame.f_code for base in cls.__mro__) else None


def _code(member: Any) -> CodeType | None:
    """Return the code of a method, a property, or what stands below a decorator."""
    for name in ("fget", "func", "__func__", "wrapped"):
        member = getattr(member, name, None) or member
    member = inspect.unwrap(member) if callable(member) else member
    code = getattr(member, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _validators(cls: type[Config]) -> set[str]:
    """Return the names of what pydantic runs when an object of a class is made."""
    decorators = cls.__pydantic_decorators__
    return {*decorators.model_validators, *decorators.field_validators}


def _module(frame: FrameType) -> str:
    name: str = frame.f_globals["__name__"]
    return name.removeprefix("bayespeft.")


def told(frame: FrameType) -> str:
    """Return a function's module and name, and its class where it has one."""
    owner = frame.f_locals.get("self")
    kind = f"{type(owner).__name__}." if owner is not None else ""
    return f"{_module(frame)}:{kind}{frame.f_code.co_name}"


def walked(run: Callable[[], object], *walks: Walk) -> Climbs:
    """Return the climbs of a function, and note those of walks in them."""
    climbs = Climbs(layers(), walks)
    before = sys.getprofile()
    sys.setprofile(climbs)
    try:
        run()
    finally:
        sys.setprofile(before)
    return climbs


def fitted(method: str | Method, data: Any) -> Any:
    """Return a posterior after four steps, on the tiny encoder that the tests have."""
    train = TrainConfig(steps=4, batch_size=8)
    return bayespeft.fit(networks.bert(), data, method, tokenizer=networks.tokenizer(), train=train, progress=False)


def use(method: str | Method, data: Any) -> None:
    """Fit, predict and report."""
    posterior = fitted(method, data)
    posterior.predict(data, draws=2)
    posterior.report(data, draws=2, resamples=10)


def calibrate(method: str | Method, data: Any) -> None:
    """Fit, and make promises about new data: conformal sets, and answers with a bounded error rate."""
    posterior = fitted(method, data)
    sets = posterior.conformal(data, 0.5, draws=2)
    sets.sets(data)
    sets.report(data, resamples=10)
    posterior.decide(data, 0.4, validation=data, draws=2)


def keep(method: str | Method, data: Any) -> None:
    """Fit, save, load and freeze."""
    posterior = fitted(method, data)
    with tempfile.TemporaryDirectory() as folder:
        posterior.save(f"{folder}/saved")
        loaded = bayespeft.load(f"{folder}/saved", networks.bert(), tokenizer=networks.tokenizer())
    loaded.predict(data, draws=2)
    texts = [row["text"] for row in networks.sentences()]
    with warnings.catch_warnings():
        # A method that predicts linearised says that draws are something else.
        warnings.filterwarnings("ignore", "method '.*' predicts with the network linearised")
        frozen = loaded.freeze(draws=2)
    frozen(**networks.tokenizer()(texts, padding=True, return_tensors="pt"))


def write(method: str | Method, _: Any = None) -> None:
    """Fit a language model, write and score texts, and show them."""
    rows = [{"source": "the cat", "target": "is good"}, {"source": "the dog is", "target": "bad"}] * 4
    chosen = (method if isinstance(method, Method) else bayespeft.methods()[method]).replace(prediction="sampled")
    train = TrainConfig(steps=2, batch_size=4)
    posterior = bayespeft.fit(
        networks.llama(), rows, chosen, tokenizer=networks.tokenizer(), train=train, progress=False
    )
    prompts = [row["source"] for row in rows[:2]]
    posterior.generate(prompts, draws=2, max_new_tokens=4).to_html()
    posterior.generate(prompts, draws=2, max_new_tokens=4, mode="per_draw", do_sample=True, top_k=3)
    posterior.score(prompts, ["is good", "bad"], draws=2)


def push(method: str | Method, data: Any) -> None:
    """Fit, and push to a hub that takes whatever comes."""
    posterior = fitted(method, data)
    report = posterior.report(data, draws=2, resamples=10)
    with mock.patch("bayespeft.io.hub.HfApi"):
        posterior.push_to_hub("somebody/posterior", report=report)


USES: dict[str, Callable[[str | Method, Any], None]] = {
    "predict": use,
    "calibrate": calibrate,
    "keep": keep,
    "write": write,
    "push": push,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="melora")
    parser.add_argument("--list", action="store_true", help="show the pairs, and write nothing")
    args = parser.parse_args()
    data = networks.sentences()

    def everything() -> None:
        for one in USES.values():
            one(args.method, data)

    everything()  # modules are imported and caches filled before anything counts
    climbs = walked(everything)
    guide, rows = Walk(GUIDE, args.method), Walk(DATA, data)
    walked(lambda: fitted(args.method, data), guide, rows)
    posterior, reported = fitted(args.method, data), Walk(DATA, data)
    walked(lambda: posterior.report(data, draws=2, resamples=10), reported)
    walks = {"fit:guide": guide, "fit:data": rows, "report:data": reported}
    if args.list:
        kinds = {
            "climbs": climbs.climbs,
            "climbs through other packages": climbs.through,
            "by an interface": climbs.interface,
        }
        for title, pairs in kinds.items():
            print(f"{title}: {len(pairs)}", *sorted(f"  {caller} -> {called}" for caller, called in pairs), sep="\n")
        for name, walk in walks.items():
            print(f"{name}: {len(walk.rooms)} rooms, {len(walk.modules)} modules, {len(walk.climbs)} climbs")
        return
    append(
        EXPERIMENT,
        method=args.method,
        climbs=sorted(climbs.climbs),
        through=sorted(climbs.through),
        interface=sorted(climbs.interface),
        walks={
            name: {"rooms": sorted(walk.rooms), "modules": len(walk.modules), "climbs": sorted(walk.climbs)}
            for name, walk in walks.items()
        },
    )


if __name__ == "__main__":
    main()
