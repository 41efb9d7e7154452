"""BoolQ: is the answer to the question (text) yes, given the passage (text_pair)?"""

from bayespeft.data.builtin.base import HubDataset, texts

DATASET = HubDataset(
    name="boolq",
    reference="Clark et al. 2019, BoolQ: Exploring the Surprising Difficulty of Natural Yes/No Questions",
    splits=("train", "validation"),
    labels=("no", "yes"),
    path="google/boolq",
    convert=texts("question", "passage", label="answer"),
)
