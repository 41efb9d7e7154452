"""ARC-Challenge: science questions, three to five choices, that simple methods answer wrongly."""

from bayespeft.data.builtin.base import HubDataset, choices

DATASET = HubDataset(
    name="arc_challenge",
    reference="Clark et al. 2018, Think you have Solved Question Answering? Try ARC, the AI2 Reasoning Challenge",
    splits=("train", "validation", "test"),
    path="allenai/ai2_arc",
    config="ARC-Challenge",
    convert=choices,
)
