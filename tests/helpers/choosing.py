"""How good a trial is chosen by validation: the best of all, or the best of the best method.

  PYTHONPATH=tests:. python -m helpers.choosing docs/galaxy10/trials.csv

Draws sweeps with fewer methods and seeds from the trials of a large one, and prints the mean test accuracy of
the trial that each rule chooses, in percent. The second rule is that of `analysis.results.chosen`.
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

METHOD = ["arch", "init", "protocol"]
DRAWS = 400
"""For each number of labels and of methods, and each number of seeds; shared among the sets of methods."""


def best(trials: pd.DataFrame) -> float:
    """Test accuracy of the trial with the highest validation accuracy, of equal ones with the lower loss."""
    order = np.lexsort((trials["best_val_loss"], -trials["best_val_accuracy"]))
    return float(trials["accuracy"].iloc[order[0]])


def best_of_best_method(trials: pd.DataFrame) -> float:
    """That of the trial that is best among those of the method with the highest mean."""
    means = trials.groupby(METHOD)["best_val_accuracy"].mean()
    return best(
        trials[[key == means.idxmax() for key in trials[METHOD].itertuples(index=False, name=None)]]
    )


@dataclass(frozen=True)
class Settings:
    """What is asked for."""

    path: tyro.conf.Positional[Path]
    """trials.csv of a report."""


def main(settings: Settings) -> None:
    """Print a line for each number of methods and of seeds."""
    random = np.random.default_rng(0)
    trials = pd.read_csv(settings.path)
    trials = trials[(trials["status"] == "complete") & (trials["protocol"] != "untrained")]
    seeds = trials.groupby([*METHOD, "n_labels"])["seed"].transform("nunique")
    every = trials[seeds >= 10]
    for size in (2, 3, every[METHOD].drop_duplicates().shape[0]):
        for number in (3, 5):
            found: list[tuple[float, float]] = []
            for _, with_labels in every.groupby("n_labels"):
                methods = [group for _, group in with_labels.groupby(METHOD)]
                sets = list(combinations(methods, size))
                for chosen in sets:
                    for _ in range(max(1, DRAWS // len(sets))):
                        drawn = pd.concat(m.sample(number, random_state=random) for m in chosen)
                        found.append((best(drawn), best_of_best_method(drawn)))
            of_all, of_method = 100 * np.mean(found, axis=0)
            print(
                f"{size} methods, {number} seeds: {of_all:.1f} and {of_method:.1f}, {of_method - of_all:+.1f}"
            )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
