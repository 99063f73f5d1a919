"""The progress of a training: a bar within each epoch, and the expected end."""

import sys
from datetime import datetime, timedelta
from time import perf_counter

from tqdm import tqdm


class Progress:
    """Shows a bar on a terminal, and estimates the end from the mean time of this run's epochs.

    Args:
        shows_bar: whether this process shows a bar; of several processes only one does.
    """

    def __init__(self, shows_bar: bool):
        self._shows_bar = shows_bar
        self._bar: tqdm | None = None
        self._start_s = 0.0
        self._epochs = 0

    def start_epoch(self, epoch: int, epochs: int, iterations: int) -> None:
        """Start the bar of an epoch.

        Args:
            epoch: number of the epoch, from 0.
            epochs: number of epochs.
            iterations: number of iterations of the epoch.
        """
        self.close()
        if not self._epochs:
            self._start_s = perf_counter()
        if self._shows_bar and sys.stderr.isatty():
            self._bar = tqdm(total=iterations, desc=f"epoch {epoch} of {epochs}", unit="step", leave=False)

    def step(self, loss: float) -> None:
        """Advance the bar by an iteration."""
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            self._bar.update()

    def end_epoch(self, left: int) -> str | None:
        """End an epoch; return a sentence on the end of the training, None after the last epoch.

        Args:
            left: number of remaining epochs.
        """
        self.close()
        self._epochs += 1
        if not left:
            return None
        rest = timedelta(seconds=(perf_counter() - self._start_s) / self._epochs * left)
        return f"{left} epochs left, expected to end on {datetime.now() + rest:%Y-%m-%d at %H:%M}"

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
