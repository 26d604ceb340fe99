"""What the terminal shows while a sweep runs: one live table of its trials."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from ray import tune
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trainable.data.cache import in_the_making
from trainable.manifest import Cell

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial

PREPARING = "preparing"  # what is shown of a trial that runs and has no epoch yet
STYLES = {"running": "bold", PREPARING: "bold", "done": "green", "failed": "red", "waiting": "dim"}
FRAME = 6  # lines around the rows of the table
TENTHS = 10  # of a trial's epochs: how often it is told of where no table is shown
COLUMNS = (
    *("trial", "state", "images", "epoch", "val. acc.", "best", "val. loss", "count", "img/s"),
    "at most",
)
GAP = 3
"""Characters between two columns."""
LEAST_NEEDED = ("img/s", "count", "val. loss", "at most", "images")
"""Columns that a narrow terminal does without, in the order in which they go."""


class LiveTable(tune.Callback):
    """Follows the trials of a sweep: in one table on a terminal, else by a few lines for each trial.

    Parameters
    ----------
    cells
        The manifest's cells, those of finished trials included.
    name
        Of the sweep.
    done
        Cells that an earlier experiment of the sweep has finished.
    features
        Folder in which trials compute features that others wait for, if this process sees it.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        name: str,
        done: Iterable[str] = (),
        features: Path | None = None,
    ) -> None:
        self.name, self.features = name, features
        self.cells = {cell.id: cell for cell in cells}
        self.state = dict.fromkeys(self.cells, "waiting") | dict.fromkeys(done, "done")
        self.restored = False
        self.told: set[str] = set()
        self.rows: dict[str, dict[str, Any]] = {}
        self.console: Console | None = None
        self.live: Live | None = None
        self.began = time.time()

    def __getstate__(self) -> dict[str, Any]:  # Tune pickles its callbacks
        return self.__dict__ | {"console": None, "live": None}

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Begin; called by Tune, after a restore too."""
        del stop, num_samples, total_num_samples, info
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

    def cell_of(self, pid: int | None) -> str | None:
        """The cell whose trial runs in a process; None if that is not known."""
        running = [cell for cell, state in self.state.items() if state == "running"]
        by_pid = [cell for cell in running if self.rows.get(cell, {}).get("pid", -1) == pid]
        without_row = [cell for cell in running if cell not in self.rows]
        candidates = by_pid or without_row
        return candidates[0] if len(candidates) == 1 else None

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """What trials wait for; once, after a restore, what is known of them already."""
        del iteration, info
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

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """A trial starts, or resumes after a restore."""
        del iteration, trials, info
        cell = trial.config["cell"]
        self.state[cell] = "running"
        row = self.rows.get(cell)
        self._line(
            f"{cell}  resumes, epoch {row['epoch']} was its last" if row else f"{cell}  starts"
        )

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """An epoch is done."""
        del iteration, trials, info
        cell = trial.config["cell"]
        if result.get("skipped_checkpoints") and cell not in self.told and self.console:
            self.told.add(cell)
            self.console.print(
                f"{cell}: its newest checkpoint was corrupt; resumed from the one before, "
                f"epoch {result['epoch'] - 1}"
            )
        self.rows[cell] = result
        tenth, before = (
            epoch * TENTHS // result["max_epochs"]
            for epoch in (result["epoch"], result["epoch"] - 1)
        )
        if tenth > before and not result["finished"]:
            self._line(f"{cell}  epoch {_progress(result)}")

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """A trial ended, by its stopper or because the user interrupted."""
        del iteration, trials, info
        cell = trial.config["cell"]
        row = self.rows.get(cell)
        if row and row["finished"]:
            self.state[cell] = "done"
            self._line(f"{cell}  ended after epoch {_progress(row)}")
        else:
            self.state[cell] = "waiting"

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """A trial failed; the others continue."""
        del iteration, trials, info
        cell = trial.config["cell"]
        self.state[cell] = "failed"
        self._line(f"{cell}  failed after epoch {self.rows.get(cell, {'epoch': 0})['epoch']}")

    def on_trial_recover(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """A trial's worker was lost, or it failed; it resumes from its last checkpoint."""
        del iteration, trials, info
        self.state[trial.config["cell"]] = "waiting"
        if self.console:
            epoch = self.rows.get(trial.config["cell"], {"epoch": 0})["epoch"]
            self.console.print(
                f"{trial.config['cell']}: failed after epoch {epoch:.0f}, or lost its node; taken "
                f"up again from its last checkpoint ({trial.num_failures} of {trial.max_failures} "
                "times)",
                soft_wrap=True,
            )

    def _line(self, text: str) -> None:
        if self.live is None and self.console:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def on_experiment_end(self, trials: list[TuneTrial], **info: Any) -> None:
        """All trials ended."""
        del trials, info
        self.close()

    def table(self, room: int | None = None) -> Group:
        """The table as of now, in `room` lines (those of the terminal).

        On a narrow terminal the columns of `LEAST_NEEDED` are left out, until no text is cut.
        """
        if room is None:
            room = self.console.height - FRAME if self.console else len(self.cells)
        shown = self._shown(room)
        rows = {cell: self._texts(cell) for cell in shown}
        names = _fitting(list(rows.values()), self.console.width if self.console else None)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in names:
            justify = "left" if name in ("trial", "state") else "right"
            table.add_column(name, justify=justify, no_wrap=True)
        for texts in rows.values():
            table.add_row(*(texts[name] for name in names), style=STYLES[texts["state"]])
        if hidden := [state for cell, state in self.state.items() if cell not in shown]:
            counts = ", ".join(f"{hidden.count(s)} {s}" for s in STYLES if s in hidden)
            table.add_row(f"… {counts}", style="dim")
        return Group(Text(self._headline(), style="bold"), table)

    def _texts(self, cell: str) -> dict[str, str]:
        """Column → what it shows of a trial."""
        state, row = self.state[cell], self.rows.get(cell)
        figures = _figures(row, state) if row else [""] * (len(COLUMNS) - 3)
        state = PREPARING if state == "running" and not row else state
        images = f"{self.cells[cell].n_train:,}"
        return dict(zip(COLUMNS, (cell, state, images, *figures), strict=True))

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
        seen: dict[
            tuple[str, str], list[float]
        ] = {}  # seconds an image, by network and what trains
        for cell, row in self.rows.items():
            seconds = row["epoch_seconds"] / row["n_train"]
            seen.setdefault(self._kind(cell), []).append(seconds)
        if not seen:
            return ""
        pace = {kind: mean(seconds) for kind, seconds in seen.items()}
        left = sum(
            self.cells[c].n_train
            * (self.cells[c].config.max_epochs - self.rows.get(c, {"epoch": 0})["epoch"])
            * pace.get(self._kind(c), max(pace.values()))
            for c, state in self.state.items()
            if state in ("waiting", "running")
        )
        at_once = max(1, list(self.state.values()).count("running"))
        return f" · at most {_clock(left / at_once)} left"

    def _kind(self, cell: str) -> tuple[str, str]:
        """What trials of one pace have in common."""
        config = self.cells[cell].config
        return config.arch, config.trained


def _progress(row: dict[str, Any]) -> str:
    return (
        f"{row['epoch']}/{row['max_epochs']}  val. accuracy {row['val_accuracy']:.4f}  "
        f"val. loss {row['val_loss']:.4f}  counter {row['counter']}/{row['patience']}"
    )


def _fitting(rows: Sequence[dict[str, str]], width: int | None) -> list[str]:
    """The columns that fit into `width` characters with their whole text; all for None."""
    widths = {name: max(map(len, (name, *(row[name] for row in rows)))) for name in COLUMNS}
    names = list(COLUMNS)
    for name in LEAST_NEEDED:
        if width is None or sum(widths[n] for n in names) + GAP * len(names) <= width:
            break
        names.remove(name)
    return names


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
