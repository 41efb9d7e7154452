"""CoLA: is a sentence acceptable English?"""

from bayespeft.data.builtin.base import HubDataset, texts

DATASET = HubDataset(
    name="cola",
    reference="Warstadt et al. 2019, Neural Network Acceptability Judgments; GLUE, Wang et al. 2019",
    splits=("train", "validation"),
    labels=("unacceptable", "acceptable"),
    path="nyu-mll/glue",
    config="cola",
    convert=texts("sentence"),
)
