"""Coverage of the interval of `analysis.label_audit.share`, where it is known which labels are wrong.

    PYTHONPATH=tests:. python -m helpers.label_audit_coverage [--data-sets 10]

Writes the table of the guide's page on label audits, and a line for each data set to ``--rows``, from which it
resumes.

Labels of the mock survey are exact by construction. Each data set is a random part of its images, some of
whose labels are made wrong: to any other class, to the most confused class, or of the very
images that a probe finds hard, to the class that it takes them for. The whole audit then runs on it, and its
interval either contains the share or does not. Tens of minutes on one core.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from analysis.label_audit.confident_learning import audit, out_of_fold
from analysis.label_audit.flips import check, flip, most_confused
from analysis.label_audit.share import clopper_pearson, from_check
from trainable.probe import components_of

IMAGES = 500
TASKS = {"ten classes": (), "four classes": ("0+1", "2+3+4", "5+6+7", "8+9")}
TRUTHS = (
    ("none", 0.0),
    ("uniform", 0.05),
    ("uniform", 0.2),
    ("confused", 0.05),
    ("confused", 0.2),
    ("hard", 0.05),
    ("hard", 0.2),
)
WORDS = {
    "none": "none",
    "uniform": "to any other class",
    "confused": "to the most confused class",
    "hard": "of hard images, to the class they look like",
}


def mock_features(merge: tuple[str, ...], cache_dir: Path | None = None):
    """Features (n, D) and exact labels (n,) of 1,500 images of the mock survey."""
    from trainable.config import Settings
    from trainable.data.cache import cache_root
    from trainable.mock.survey import MockSurvey, cached
    from trainable.models.features import cached_features
    from trainable.prepare import prepare

    mock = MockSurvey(n_images=1500, test_share=0.2, label_noise=0.0)
    settings = Settings(
        data=str(cached(mock, cache_root(cache_dir))),
        arch=("vit_demo",),
        trained=("probe",),
        precision="fp32",
        drop_labels=(),
        merge_labels=merge,
        cache_dir=cache_dir,
    )
    prepared = prepare(settings)
    config = prepared.training_config("pretrained", 1.0, 0)
    features = cached_features(prepared.survey, config, device="cpu")
    return np.asarray(features)[prepared.selection.rows], prepared.selection.labels


def wrong(truth, probabilities, kind, rate, random):
    """The labels with a share of them made wrong."""
    if kind == "none":
        return truth
    if kind != "hard":
        return flip(truth, rate, kind, most_confused(truth, probabilities), random)
    others = probabilities.copy()
    others[np.arange(len(truth)), truth] = 0
    likely = others.max(1) / others.max(1).sum()
    chosen = random.choice(len(truth), round(rate * len(truth)), replace=False, p=likely)
    labels = truth.copy()
    labels[chosen] = others.argmax(1)[chosen]
    return labels


def one(features, truth, kind, rate, seed):
    """One data set: the share of wrong labels, the estimate and the interval."""
    random = np.random.default_rng(seed)
    part = np.sort(random.permutation(len(truth))[:IMAGES])
    components, truth = components_of(features[part]), truth[part]
    groups = np.arange(len(part))
    probabilities = out_of_fold(components, truth, groups, seed=seed)
    labels = wrong(truth, probabilities, kind, rate, random)
    found = audit(components, labels, groups, draws=4, seed=seed)
    tried = check(components, groups, found, rates=(0.2,), repeats=4, seed=seed)
    share, n = from_check(found, tried), len(labels)
    naive = clopper_pearson(round(found.estimate * n), n)
    q = float((labels != truth).mean())
    return {
        "share": q,
        "accuracy": found.accuracy,
        "estimate": found.estimate,
        "naive": naive[0] <= q <= naive[1],
        "high": np.nan if share.high is None else share.high,
        "covered": share.high is None or share.low <= q <= share.high,
    }


def table(frame: pd.DataFrame) -> str:
    """One line for each task and kind of error; the limit's mean and coverage where there is one."""
    lines = [
        "| task | wrong labels | share | accuracy of the probe | estimate | estimate's binomial "
        "interval contains the share | data sets with a limit | limit | interval up to it contains the share |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (task, kind, _), rows in frame.groupby(["task", "kind", "rate"], sort=False):
        shown = " | ".join(f"{v:.1%}" for v in rows[["share", "accuracy", "estimate"]].mean())
        limited = rows[rows["high"].notna()]
        limit = f"{limited['high'].mean():.1%}" if len(limited) else "–"
        covered = f"{int(limited['covered'].sum())} of {len(limited)}" if len(limited) else "–"
        naive = f"{int(rows['naive'].sum())} of {len(rows)}"
        lines.append(
            f"| {task} | {WORDS[kind]} | {shown} | {naive} | {len(limited)} of {len(rows)} | {limit} | "
            f"{covered} |"
        )
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class Simulations:
    """Measure the coverage of the interval of a label audit."""

    data_sets: int = 10
    """Of each task and kind of error."""
    rows: Path = Path("label_audit_coverage.csv")
    """One line for each data set; those that are there are not simulated again."""
    out: Path = Path("label_audit_coverage.md")
    """The table, as the guide has it."""


def main(settings: Simulations) -> int:
    """Simulate what is missing, and write the table after each data set of all kinds."""
    done = pd.read_csv(settings.rows) if settings.rows.is_file() else pd.DataFrame()
    rows = done.to_dict("records")
    known = {(row["task"], row["kind"], row["rate"], row["seed"]) for row in rows}
    data = {task: mock_features(merge) for task, merge in TASKS.items()}
    for seed in range(settings.data_sets):
        for task, (kind, rate) in itertools.product(TASKS, TRUTHS):
            if (task, kind, rate, seed) in known:
                continue
            found = one(*data[task], kind, rate, seed)
            rows.append({"task": task, "kind": kind, "rate": rate, "seed": seed, **found})
            pd.DataFrame(rows).to_csv(settings.rows, index=False)
        settings.out.write_text(table(pd.DataFrame(rows)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Simulations, description=__doc__)))
