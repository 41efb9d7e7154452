# %% [markdown]
# # A LoRA made Bayesian afterwards
#
# Somebody trained a LoRA with peft, to the end. Its probabilities are too sure of themselves. Here it gets a posterior around
# it, without being trained again, and goes back to peft as it was.

# %%
import os
import tempfile
import warnings
from pathlib import Path

import bayespeft
from bayespeft import TrainConfig
from bayespeft.testing import networks

FAST = bool(os.environ.get("BAYESPEFT_FAST"))  # a tiny random network and two dozen sentences, in seconds
folder = Path(tempfile.mkdtemp()) / "my-lora"

# %%
if FAST:
    model, tokenizer = networks.bert(), networks.tokenizer()
    train, test = networks.sentences(), networks.sentences()
    settings = TrainConfig(steps=5)
else:
    from bayespeft.data.load import load as load_data
    from bayespeft.pretrained.load import load as load_network

    model, tokenizer = load_network("minilm", "classification", 5)
    train, test = load_data("newsgroups", "train", limit=300), load_data("newsgroups", "test", limit=600)
    settings = TrainConfig(epochs=20)

# %% [markdown]
# In place of somebody: maximum likelihood, to its end, written as peft writes a LoRA.

# %%
likelihood = bayespeft.likelihoods.SequenceClassification(max_length=48)
bayespeft.fit(model, train, "mle", tokenizer=tokenizer, likelihood=likelihood, train=settings).export_peft(folder)

# %% [markdown]
# Import it. It is a posterior of no width, and says what it is worth.

# %%
lora = bayespeft.import_lora(folder, model, tokenizer=tokenizer, likelihood=likelihood)
print(lora.report(test).verdict)

# %% [markdown]
# Laplace measures the curvature of the loss on the training rows and predicts with the network linearised; a temperature on
# rows that nothing was trained on mends what is over-confident in the middle.

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that a LoRA of another's training may be far from a mode
    laplace = bayespeft.fit(lora.model, train, "laplace_lora", start=lora, tokenizer=tokenizer, progress=False)
half = len(test) // 2
calibrated = laplace.with_temperature(test[:half])
for name, posterior in (("as it came", lora), ("with a posterior", laplace), ("and a temperature", calibrated)):
    report = posterior.report(test[half:])
    print(f"{name}: NLL {report.nll.value:.3f} nats, ECE {100 * report.ece.value:.1f} %")

# %% [markdown]
# What it learned is as it was: the mean of the posterior is the LoRA that came, and goes back to peft.

# %%
calibrated.export_peft(folder.with_name("again"))
print(sorted(path.name for path in folder.with_name("again").iterdir()))
