"""The methods, by family."""

from __future__ import annotations

import bayespeft
from bayespeft.catalogue import CORE, FACTORS, FIRST, LAPLACE, ONE, OTHER, SAMPLES, family


def test_every_method_stands_under_one_heading():
    methods = bayespeft.methods()
    listed = [name for names in methods.families().values() for name in names]
    assert sorted(listed) == sorted(methods)
    assert listed[: len(FIRST)] == list(FIRST)
    assert FIRST[0] == "melora"  # what `fit` takes when nothing is said


def test_families_follow_from_adapter_and_guide():
    expected = {
        "melora_full": CORE, "scalabl": CORE, "bayes_lora": FACTORS, "laplace_core": LAPLACE, "ensemble": SAMPLES,
        "mc_dropout": SAMPLES, "temperature": ONE, "rosa_subspace": OTHER, "bayes_rosa": OTHER,
    }  # fmt: skip
    methods = bayespeft.methods()
    assert {name: family(methods[name]) for name in expected} == expected


def test_the_tables_name_all_of_them():
    methods = bayespeft.methods()
    text, shown = methods.markdown(), repr(methods)
    assert all(f"| `{name}` |" in text and name in shown for name in methods)
    assert text.index("`mle`") < text.index("<details>") < text.index("`ensemble`")
