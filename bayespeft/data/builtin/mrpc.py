"""MRPC: do two sentences of the news say the same?"""

from bayespeft.data.builtin.base import HubDataset, texts

DATASET = HubDataset(
    name="mrpc",
    reference="Dolan & Brockett 2005, Automatically Constructing a Corpus of Sentential Paraphrases; "
    "GLUE, Wang et al. 2019",
    splits=("train", "validation", "test"),
    labels=("different", "equivalent"),
    path="nyu-mll/glue",
    config="mrpc",
    convert=texts("sentence1", "sentence2"),
)
