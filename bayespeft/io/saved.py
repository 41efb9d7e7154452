"""What `posterior.json` says: one schema, by which a posterior is written and read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from bayespeft.adapters.base import Adapter
from bayespeft.errors import BayesPeftError, CheckpointError
from bayespeft.layers.rows import Order
from bayespeft.likelihoods.base import Likelihood
from bayespeft.methods.base import Method
from bayespeft.training.history import History
from bayespeft.utils.annotations import Seed


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Base(_Part):
    """The network that a posterior was fitted on.

    Attributes:
        name: as its configuration calls it.
        fingerprint: see `bayespeft.layers.fingerprint`.
        reading: see `bayespeft.networks.vocabulary`; "" where no tokenizer read the data.
    """

    name: str
    fingerprint: dict[str, str]
    reading: str = ""


class Saved(_Part):
    """A posterior without its tensors.

    Attributes:
        bayespeft: the version that wrote it.
        method: with all its settings as they were used.
        likelihood: what the network's output means.
        sites: the adapter of each layer, in the order of the fit.
        heads: those of the layers that are freshly made.
        idle: freshly made layers that play no part in the network's output.
        classes: outputs of an example.
        seed: of the fit.
        temperature: divides the logits.
        columns: which column of the data is which: our name -> the data's, where the user said so.
        base: the network.
        history: how training went.
        imported: see `bayespeft.posterior.fitted.Fitted`.
        orders: of the layers whose rows do not have the examples first, how they stand.
        merged: what was merged into the network's weights, step by step; None where the adapters never merge.
    """

    bayespeft: str
    method: Method
    likelihood: SerializeAsAny[Likelihood]
    sites: Annotated[dict[str, SerializeAsAny[Adapter]], Field(min_length=1)]
    heads: tuple[str, ...]
    idle: tuple[str, ...]
    classes: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
    seed: Annotated[Seed, Field(strict=True)]
    # Beyond these no probability of logits in double precision is left.
    temperature: Annotated[float, Field(ge=1e-6, le=1e6, strict=True)]
    base: Base
    history: History
    merged: dict[str, int | None] | None = None
    columns: dict[str, str] = {}
    imported: dict[str, str] = {}
    orders: dict[str, Order] = {}

    def settings(self) -> dict[str, Any]:
        """Return plain containers, for JSON; nothing is said of an import where there was none, nor of orders."""
        return self.model_dump(
            mode="json", exclude={name for name in ("imported", "orders") if not getattr(self, name)}
        )

    @classmethod
    def of(cls, settings: Mapping[str, Any], directory: str | os.PathLike[str]) -> Saved:
        """Read what `settings` returned.

        Raises:
            CheckpointError: it says something else; the message names what.
        """
        fields = {name: value for name, value in settings.items() if name not in ("format", "tensors")}
        try:
            return cls(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise CheckpointError(f"the settings in '{directory}' can't be read: {where}: {first['msg']}.") from None
        except (BayesPeftError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"the settings in '{directory}' can't be read: {error}") from None
