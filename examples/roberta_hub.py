"""RoBERTa with a Bayesian adapter under Pyro.

To turn all of RoBERTa into a Pyro network fails (pyro issue 2577, transformers issue 6112): its modules would have to
be rewritten, and a normal distribution over 125 million weights fits no memory. Nothing of it is needed: the network
stays the module that it is, only a few adapter factors are random, and Pyro sees those.

python examples/roberta_hub.py                                    (roberta-base and SST-2, from the hub)
python examples/roberta_hub.py --network FOLDER --data FOLDER     (any encoder, any folder of JSON lines)
"""

import typer

import bayespeft
from bayespeft import TrainConfig
from bayespeft.data.load import load as load_data
from bayespeft.pretrained.load import load as load_network


def main(
    network: str = "roberta-base",
    data: str = "sst2",
    classes: int = 2,
    rows: int = 500,
    test_rows: int = 500,
    epochs: float = 3,
    out: str = "out/roberta",
) -> float:
    """Fit, save, load onto the network again, and show the sentences that the posterior is least sure about."""
    model, tokenizer = load_network(network, "classification", classes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train, test = load_data(data, "train", limit=rows), load_data(data, "test", limit=test_rows)

    posterior = bayespeft.fit(model, train, "melora", tokenizer=tokenizer, train=TrainConfig(epochs=epochs))
    posterior.save(out)

    after = model.state_dict()
    assert list(after) == list(before)
    assert all(after[name].equal(value) for name, value in before.items())
    print(f"{type(model).__name__} is as it was: {len(before)} tensors, bit by bit; no layer was replaced.")

    again = bayespeft.load(out, model, tokenizer=tokenizer)
    predictive = again.predict(test, draws=10)
    unsure = predictive.mutual_information.argsort(descending=True)[:5]
    print("Sentences on which the draws of the posterior disagree most:")
    for i in unsure.tolist():
        probability = float(predictive.probs[i].max())
        print(f"  p = {probability:.2f}  MI = {float(predictive.mutual_information[i]):.3f}  {test[i]['text'][:80]}")
    report = again.report(test, draws=10, name=f"{data} test")
    print(report)
    return report.accuracy.value


if __name__ == "__main__":
    typer.run(main)
