"""WiC: does a word have the same meaning in two sentences? The word comes first: "place: Do you want to come ..."."""

from bayespeft.data.builtin.base import HubDataset
from bayespeft.data.columns import Row


def _convert(row: Row) -> Row:
    return {"text": f"{row['word']}: {row['sentence1']}", "text_pair": row["sentence2"], "label": int(row["label"])}


DATASET = HubDataset(
    name="wic",
    reference="Pilehvar & Camacho-Collados 2019, WiC: the Word-in-Context Dataset; SuperGLUE, Wang et al. 2019",
    splits=("train", "validation"),
    labels=("different", "same"),
    path="aps/super_glue",
    config="wic",
    convert=_convert,
)
