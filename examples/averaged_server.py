"""A server of LoRAs answers with a posterior: each draw is an adapter, and their probabilities are averaged here.

python examples/averaged_server.py DIRECTORY --url http://localhost:8000/v1

DIRECTORY is what `posterior.export_peft(DIRECTORY, draw="all", draws=8)` wrote, of a posterior with label tokens, and a server
that speaks OpenAI's protocol has its adapters by their names, such as vLLM:

vllm serve BASE --enable-lora --max-loras 8 --lora-modules draw-0=DIRECTORY/draw-0 draw-1=DIRECTORY/draw-1 ...
"""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import typer

from bayespeft.likelihoods.prompts import multiple_choice


def answer(url: str, adapter: str, prompt: str, manifest: dict[str, Any], tops: int) -> list[float]:
    """Return one draw's probabilities of the labels, (K,)."""
    body = {"model": adapter, "prompt": prompt, "max_tokens": 1, "logprobs": tops, "temperature": 0}
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{url}/completions", json.dumps(body).encode(), headers)) as reply:
        top = json.load(reply)["choices"][0]["logprobs"]["top_logprobs"][0]
    # A label is written after a space; tokenizers that leave spaces out have it alone.
    found = [top.get(f" {label}", top.get(label)) for label in manifest["likelihood"]["labels"]]
    if None in found:
        raise typer.BadParameter(f"{adapter}: a label is not among its {tops} likeliest tokens: raise --tops.")
    shift = manifest["logit_shift"] or [0.0] * len(found)  # where classes were weighed, and are led back
    weights = [math.exp(value / manifest["temperature"] + s) for value, s in zip(found, shift, strict=True)]
    return [weight / sum(weights) for weight in weights]


def averaged(directory: Path, url: str, question: str, choices: list[str], tops: int) -> tuple[list[float], float]:
    """Return averaged probabilities (K,), and the mutual information of answer and weights, nats."""
    manifest = json.loads((directory / "draws.json").read_text(encoding="utf-8"))
    likelihood = manifest["likelihood"]
    prompt = multiple_choice(question, choices, likelihood["template"], likelihood["labels"])
    with ThreadPoolExecutor(len(manifest["adapters"])) as pool:
        draws = list(pool.map(lambda name: answer(url, name, prompt, manifest, tops), manifest["adapters"]))
    mean = [sum(column) / len(draws) for column in zip(*draws, strict=True)]
    return mean, entropy(mean) - sum(map(entropy, draws)) / len(draws)


def entropy(probs: list[float]) -> float:
    return -sum(p * math.log(p) for p in probs if p > 0)


def main(
    directory: Path,
    url: str = "http://localhost:8000/v1",
    question: str = "Which of these melts at room temperature?",
    choices: str = "ice|iron|glass",
    tops: int = 20,
) -> tuple[list[float], float]:
    """Ask all draws one question, and print what they say together."""
    given = choices.split("|")
    probs, information = averaged(directory, url.rstrip("/"), question, given, tops)
    for choice, p in zip(given, probs, strict=False):
        print(f"{100 * p:5.1f} %  {choice}")
    print(f"mutual information {information:.4f} nats: how far the draws disagree")
    return probs, information


if __name__ == "__main__":
    typer.run(main)
