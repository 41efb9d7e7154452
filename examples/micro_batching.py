"""A FastAPI server whose callers share passes: texts that come within milliseconds of each other are one batch.

pip install fastapi uvicorn
python examples/micro_batching.py RUN minilm --classes 5
curl -H 'Content-Type: application/json' -d '{"text": "the cat sat"}' localhost:8000/predict

RUN is what `posterior.save(RUN)` wrote, of a classifier of texts.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from fastapi import Body, FastAPI

import bayespeft
from bayespeft.pretrained.load import load as load_network


class MicroBatcher:
    """Gives a text's probabilities: `answer` gets at most `most` texts, the first of which waits for others some seconds."""

    def __init__(self, answer: Callable[[list[str]], torch.Tensor], most: int = 32, wait: float = 0.005) -> None:
        self.answer, self.most, self.wait = answer, most, wait
        self.waiting: list[tuple[str, asyncio.Future[list[float]]]] = []
        self.sent: set[asyncio.Task[None]] = set()

    async def ask(self, text: str) -> list[float]:
        """Return what the batch that the text is in gives for it."""
        self.waiting.append((text, found := asyncio.get_running_loop().create_future()))
        if len(self.waiting) == 1:
            self.timer = asyncio.get_running_loop().call_later(self.wait, self._send)
        if len(self.waiting) == self.most:
            self.timer.cancel()
            self._send()
        return await found

    def _send(self) -> None:
        batch, self.waiting = self.waiting, []
        self.sent.add(task := asyncio.create_task(self._answer(batch)))
        task.add_done_callback(self.sent.discard)

    async def _answer(self, batch: list[tuple[str, "asyncio.Future[list[float]]"]]) -> None:
        try:
            rows = (await asyncio.to_thread(self.answer, [text for text, _ in batch])).tolist()
        except Exception as error:  # is the callers' to see; the next batch may do better
            rows = [error] * len(batch)
        for (_, future), row in zip(batch, rows, strict=True):
            if not future.done():  # a caller may have gone away
                (future.set_exception if isinstance(row, Exception) else future.set_result)(row)


def service(run: str, network: str, classes: int = 2, draws: int = 8, most: int = 32, wait: float = 0.005) -> FastAPI:
    """Return an application that gives a posterior's averaged probabilities."""
    model, tokenizer = load_network(network, "classification", classes)
    posterior = bayespeft.load(run, model, tokenizer=tokenizer)
    frozen, longest = posterior.freeze(draws=draws), posterior.likelihood.max_length
    names = posterior.likelihood.class_names or [str(number) for number in range(classes)]

    @torch.no_grad()
    def answer(texts: list[str]) -> torch.Tensor:
        return frozen(**tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt"))

    app = FastAPI(title="Averaged probabilities")
    app.state.batcher = MicroBatcher(answer, most, wait)

    @app.post("/predict")
    async def predict(text: Annotated[str, Body(embed=True)]) -> dict[str, float]:
        return dict(zip(names, await app.state.batcher.ask(text), strict=True))

    return app


if __name__ == "__main__":
    import uvicorn

    typer.run(lambda run, network, classes=2: uvicorn.run(service(run, network, int(classes))))
