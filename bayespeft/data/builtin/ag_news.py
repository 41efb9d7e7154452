"""AG News: which of four topics is a piece of news about?"""

from bayespeft.data.builtin.base import HubDataset, texts

DATASET = HubDataset(
    name="ag_news",
    reference="Zhang, Zhao & LeCun 2015, Character-level Convolutional Networks for Text Classification",
    splits=("train", "test"),
    labels=("World", "Sports", "Business", "Sci/Tech"),
    path="fancyzhx/ag_news",
    convert=texts("text"),
)
