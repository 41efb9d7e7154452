"""A server whose callers share passes: texts that come within milliseconds of each other are one batch.

python examples/micro_batching.py RUN minilm --classes 5
curl -d '{"text": "the cat sat"}' localhost:8000

RUN is what `posterior.save(RUN)` wrote, of a classifier of texts. A handler of FastAPI calls the same `MicroBatcher`.
"""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from time import monotonic

import torch
import typer

import bayespeft
from bayespeft.pretrained.load import load as load_network


class MicroBatcher:
    """Gives a text's probabilities, to any thread: `answer` gets at most `most` texts, waited for some seconds."""

    def __init__(self, answer: Callable[[list[str]], torch.Tensor], most: int = 32, wait: float = 0.005) -> None:
        self.answer, self.most, self.wait = answer, most, wait
        self.waiting: Queue[tuple[str, Future[list[float]]]] = Queue()
        threading.Thread(target=self._run, daemon=True).start()

    def ask(self, text: str) -> list[float]:
        """Return what the batch that the text is in gives for it."""
        self.waiting.put((text, found := Future()))
        return found.result()

    def _run(self) -> None:
        while True:
            batch, end = [self.waiting.get()], monotonic() + self.wait
            while len(batch) < self.most:
                try:
                    batch.append(self.waiting.get(timeout=max(0.0, end - monotonic())))
                except Empty:
                    break
            try:
                found = self.answer([text for text, _ in batch]).tolist()
                list(map(Future.set_result, (future for _, future in batch), found))
            except Exception as error:  # is the callers' to see; the next batch may do better
                list(map(Future.set_exception, (future for _, future in batch), [error] * len(batch)))


def server(run: str, network: str, classes: int = 2, draws: int = 8, port: int = 8000) -> ThreadingHTTPServer:
    """Return a server of a posterior's averaged probabilities."""
    model, tokenizer = load_network(network, "classification", classes)
    posterior = bayespeft.load(run, model, tokenizer=tokenizer)
    frozen, longest = posterior.freeze(draws=draws), posterior.likelihood.max_length
    names = posterior.likelihood.class_names or [str(number) for number in range(classes)]

    @torch.no_grad()
    def answer(texts: list[str]) -> torch.Tensor:
        return frozen(**tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt"))

    batcher = MicroBatcher(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            probs = batcher.ask(row["text"]) if isinstance(row, dict) and isinstance(row.get("text"), str) else None
            self.send_response(200 if probs else 400)
            self.end_headers()
            found = dict(zip(names, probs, strict=True)) if probs else {"error": "an object with a text is expected"}
            self.wfile.write(json.dumps(found).encode())

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    typer.run(lambda run, network, classes=2: server(run, network, int(classes)).serve_forever())
