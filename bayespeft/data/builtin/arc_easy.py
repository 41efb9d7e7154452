"""ARC-Easy: science questions with three to five choices, mostly four."""

from bayespeft.data.builtin.base import HubDataset, choices

DATASET = HubDataset(
    name="arc_easy",
    reference="Clark et al. 2018, Think you have Solved Question Answering? Try ARC, the AI2 Reasoning Challenge",
    splits=("train", "validation", "test"),
    path="allenai/ai2_arc",
    config="ARC-Easy",
    convert=choices,
)
