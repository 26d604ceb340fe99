"""What the terminal shows while a sweep runs: one live table of its trials."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from ray import tune
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trainable.cache import in_the_making

PREPARING = "preparing"  # what is shown of a trial that runs and has no epoch yet
STYLES = {"running": "bold", PREPARING: "bold", "done": "green", "failed": "red", "waiting": "dim"}
FRAME = 6  # lines around the rows of the table
COLUMNS = ("trial", "state", "images", "epoch", "val. acc.", "best", "val. loss", "count", "img/s")


class LiveTable(tune.Callback):
    """Follows the trials of a sweep.

    Parameters
    ----------
    cells
        The manifest's cells, those of finished trials included.
    name
        Of the sweep.
    done
        Cells that an earlier experiment of the sweep has finished.
    features
        Folder in which trials compute features that others wait for, where this process sees it.
    """

    def __init__(
        self,
        cells: list[dict[str, Any]],
        name: str,
        done: Iterable[str] = (),
        features: Path | None = None,
    ) -> None:
        self.name, self.features = name, features
        self.cells = {cell["id"]: cell for cell in cells}
        self.state = dict.fromkeys(self.cells, "waiting") | dict.fromkeys(done, "done")
        self.restored = False
        self.told: set[str] = set()
        self.rows: dict[str, dict[str, float]] = {}
        self.console: Console | None = None
        self.live: Live | None = None
        self.began = time.time()

    def __getstate__(self) -> dict[str, Any]:  # Tune pickles its callbacks
        return self.__dict__ | {"console": None, "live": None}

    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info) -> None:
        """Begin; called by Tune, after a restore too."""
        self.began, self.restored = time.time(), False
        self.console = Console()
        if self.console.is_terminal:
            self.live = Live(get_renderable=self.table, console=self.console, refresh_per_second=2)
            self.live.start()

    def close(self) -> None:
        """Leave the table as it stands."""
        if self.live:
            self.live.stop()
            self.live = None

    def on_step_begin(self, iteration, trials, **info) -> None:
        """What trials wait for; once, after a restore, what is known of them already."""
        if self.live is None and self.console and PREPARING not in self.told and self._preparing():
            self.told.add(PREPARING)
            self.console.print("preparing" + self._preparing(), highlight=False)
        if not self.restored:
            self.restored = True
            for trial in trials:
                if trial.last_result and "epoch" in trial.last_result:
                    self.rows[trial.config["cell"]] = trial.last_result
                    if trial.is_finished() and trial.last_result["finished"]:
                        self.state[trial.config["cell"]] = "done"

    def on_trial_start(self, iteration, trials, trial, **info) -> None:
        """A trial begins, or goes on after a restore."""
        self.state[trial.config["cell"]] = "running"

    def on_trial_result(self, iteration, trials, trial, result, **info) -> None:
        """An epoch is done."""
        cell = trial.config["cell"]
        if result.get("skipped_checkpoints") and cell not in self.told and self.console:
            self.told.add(cell)
            self.console.print(
                f"{cell}: its newest checkpoint was damaged; went on from the one before, "
                f"epoch {result['epoch'] - 1}"
            )
        self.rows[cell] = result
        if self.live is None and self.console:
            self.console.print(
                f"{cell}  epoch {result['epoch']}  val. accuracy {result['val_accuracy']:.4f}  "
                f"val. loss {result['val_loss']:.4f}  counter {result['counter']}/"
                f"{result['patience']}",
                highlight=False,
            )

    def on_trial_complete(self, iteration, trials, trial, **info) -> None:
        """A trial ended, by its stopper or because the user interrupted."""
        finished = self.rows.get(trial.config["cell"], {}).get("finished")
        self.state[trial.config["cell"]] = "done" if finished else "waiting"

    def on_trial_error(self, iteration, trials, trial, **info) -> None:
        """A trial failed; the others go on."""
        self.state[trial.config["cell"]] = "failed"

    def on_trial_recover(self, iteration, trials, trial, **info) -> None:
        """A trial's worker was lost, or it failed; it goes on from its last checkpoint."""
        self.state[trial.config["cell"]] = "waiting"
        if self.console:
            epoch = self.rows.get(trial.config["cell"], {"epoch": 0})["epoch"]
            self.console.print(
                f"{trial.config['cell']}: failed after epoch {epoch:.0f}, or lost its node; taken "
                f"up again from its last checkpoint ({trial.num_failures} of {trial.max_failures} "
                "times)",
                soft_wrap=True,
            )

    def on_experiment_end(self, trials, **info) -> None:
        """All trials ended."""
        self.close()

    def table(self, room: int | None = None) -> Group:
        """The table as of now, in `room` lines (those of the terminal)."""
        if room is None:
            room = self.console.height - FRAME if self.console else len(self.cells)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in (*COLUMNS, "at most"):
            table.add_column(
                name, justify="left" if name in ("trial", "state") else "right", no_wrap=True
            )
        shown = self._shown(room)
        for cell in shown:
            state, row = self.state[cell], self.rows.get(cell)
            figures = _figures(row, state) if row else [""] * 7
            state = PREPARING if state == "running" and not row else state
            images = f"{self.cells[cell]['n_train']:,}"
            table.add_row(cell, state, images, *figures, style=STYLES[state])
        if hidden := [state for cell, state in self.state.items() if cell not in shown]:
            counts = ", ".join(f"{hidden.count(s)} {s}" for s in STYLES if s in hidden)
            table.add_row(f"… {counts}", style="dim")
        return Group(Text(self._headline(), style="bold"), table)

    def _shown(self, room: int) -> list[str]:
        """Cells that fit: what runs or failed before what is done, and that before the rest."""
        ranks = {"running": 0, "failed": 1, "done": 2, "waiting": 3}
        by_rank = sorted(self.state, key=lambda cell: ranks[self.state[cell]])
        kept = by_rank if len(by_rank) <= room else by_rank[: max(room - 1, 1)]
        return [cell for cell in self.state if cell in kept]

    def _headline(self) -> str:
        count = list(self.state.values()).count
        failed = f", {count('failed')} failed" if count("failed") else ""
        seconds = time.time() - self.began
        return (
            f"sweep {self.name}: {count('done')} of {len(self.cells)} trials done, "
            f"{count('running')} running{failed} · {_clock(seconds)} elapsed{self._most_left()}"
            + self._preparing()
        )

    def _preparing(self) -> str:
        """What trials without an epoch wait for: one of them computes features for all."""
        waiting = any(s == "running" and cell not in self.rows for cell, s in self.state.items())
        if self.features is None or not waiting:
            return ""
        making = in_the_making(self.features, since=self.began)
        return "".join(f" · features: {done:,} of {total:,} images" for done, total in making)

    def _most_left(self) -> str:
        """Time left if every trial used all its epochs, at the pace of those that train the same.

        Trials of a kind that none has begun take as long as the slowest kind.
        """
        seen: dict[str | None, list[float]] = {}  # seconds an image, by what is trained
        for cell, row in self.rows.items():
            seconds = row["epoch_seconds"] / row["n_train"]
            seen.setdefault(self.cells[cell]["run"].get("trained"), []).append(seconds)
        if not seen:
            return ""
        pace = {trained: mean(seconds) for trained, seconds in seen.items()}
        left = sum(
            self.cells[c]["n_train"]
            * (self.cells[c]["run"]["max_epochs"] - self.rows.get(c, {"epoch": 0})["epoch"])
            * pace.get(self.cells[c]["run"].get("trained"), max(pace.values()))
            for c, state in self.state.items()
            if state in ("waiting", "running")
        )
        at_once = max(1, list(self.state.values()).count("running"))
        return f" · at most {_clock(left / at_once)} left"


def _figures(row: dict[str, float], state: str) -> list[str]:
    left = (row["max_epochs"] - row["epoch"]) * row["epoch_seconds"]
    return [
        f"{row['epoch']:.0f}/{row['max_epochs']:.0f}",
        f"{row['val_accuracy']:.4f}",
        f"{row['best_val_accuracy']:.4f}",
        f"{row['val_loss']:.4f}",
        f"{row['counter']:.0f}/{row['patience']:.0f}",
        f"{row['images_per_second']:,.0f}",
        _clock(left) if state == "running" else "",
    ]


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
