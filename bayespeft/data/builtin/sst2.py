"""SST-2: is a film review's sentence positive?"""

from bayespeft.data.builtin.base import HubDataset, texts

DATASET = HubDataset(
    name="sst2",
    reference="Socher et al. 2013, Recursive Deep Models for Semantic Compositionality; GLUE, Wang et al. 2019",
    splits=("train", "validation"),
    labels=("negative", "positive"),
    path="nyu-mll/glue",
    config="sst2",
    convert=texts("sentence"),
)
