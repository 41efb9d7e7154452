"""OpenBookQA: science questions with four choices, without the book of facts."""

from bayespeft.data.builtin.base import HubDataset, choices

DATASET = HubDataset(
    name="openbookqa",
    reference="Mihaylov et al. 2018, Can a Suit of Armor Conduct Electricity? A New Dataset for Open "
    "Book Question Answering",
    splits=("train", "validation", "test"),
    path="allenai/openbookqa",
    config="main",
    convert=choices,
)
