"""RTE: does the first text entail the second?"""

from bayespeft.data.builtin.base import HubDataset, texts

DATASET = HubDataset(
    name="rte",
    reference="Dagan et al. 2006, The PASCAL Recognising Textual Entailment Challenge, and its "
    "successors; GLUE, Wang et al. 2019",
    splits=("train", "validation"),
    labels=("entailment", "not entailment"),
    path="nyu-mll/glue",
    config="rte",
    convert=texts("sentence1", "sentence2"),
)
