"""What is believed about a factor before the data: one prior, one file."""

from typing import TYPE_CHECKING

from bayespeft import registry

if TYPE_CHECKING:
    from bayespeft.priors.ard import Ard as Ard
    from bayespeft.priors.base import Prior as Prior
    from bayespeft.priors.dropout import Dropout as Dropout
    from bayespeft.priors.empirical_bayes import EmpiricalBayes as EmpiricalBayes
    from bayespeft.priors.fan_in import FanIn as FanIn
    from bayespeft.priors.flat import Flat as Flat
    from bayespeft.priors.normal import Normal as Normal
    from bayespeft.priors.randomised import Randomised as Randomised
else:
    __getattr__, __dir__ = registry.exports(
        "priors",
        {
            "Prior": "bayespeft.priors.base",
        },
    )
