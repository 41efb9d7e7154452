"""A progress bar for training: NLL, KL and time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bayespeft.training.history import Record


class ProgressBar:
    """Shows each record of `bayespeft.training.loop.run` in a terminal (on standard error)."""

    def __init__(self, title: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(title, total=None, numbers="", left="left")

    def start(self, steps: int, open_end: bool) -> None:
        """Show the bar."""
        # Most runs whose length held-out rows decide end long before their last step.
        self._bar.update(self._task, total=steps, left="left, at most" if open_end else "left")
        self._bar.start()

    def record(self, record: Record) -> None:
        """Update the numbers."""
        numbers = f"NLL {record.nll:.3f}  KL {record.kl_text} nats"
        if record.validation:
            shown = (f"{name} {value:.3f}" for name, value in record.validation.items() if "=" not in name)
            numbers += "  validation " + "  ".join(shown)
        self._bar.update(self._task, completed=record.step, numbers=numbers)

    def stop(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()
