"""Plainly synthetic results for the tests: curves from a formula, predictions by a die."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.results.schema import EPOCH_COLUMNS, Results
from trainable.config import DataConfig, TrainingConfig
from trainable.manifest import Backbone, Cell, DataInfo, DroppedClass, Manifest
from trainable.protocol import PAPER_CELLS, Stopping

NAMES = ("round", "in-between", "edge-on", "barred spiral", "tight spiral", "merging")
COUNTS = (260, 200, 140, 204, 183, 120)
SHA = "ab" * 32
ARCH = "vit_tiny"
"""Main architecture of a synthetic sweep, unless it is given."""


def accuracy_of(init, n_train, seed=0):
    """A plausible best accuracy: pre-training helps most where labels are few."""
    top, scale = (0.74, 250) if init == "pretrained" else (0.72, 900)
    wobble = 0.006 * np.sin(7 * seed + n_train + (init == "scratch"))
    return top - 0.35 * np.exp(-np.sqrt(n_train / scale)) + wobble


def manifest(
    cells,
    *,
    name="toy",
    galaxy10=False,
    arch=ARCH,
    names=NAMES,
    protocol=None,
    weights="toy-weights",
    **data,
):
    """The manifest of a sweep; `cells` from `cell`, `data` as of `DataInfo`."""
    protocol = protocol or ("paper" if galaxy10 else "demo")
    cells = [
        configured(cell, arch=arch if cell.config.arch == ARCH else cell.config.arch)
        for cell in cells
    ]
    others = (cell.config.arch for cell in cells)
    known = {
        "name": "galaxy10" if galaxy10 else "mock",
        "path": "/data/images.h5",
        "sha256": SHA,
        "is_galaxy10": galaxy10,
        "image_size": "224 × 224 pixels" if galaxy10 else "32 × 32 pixels",
        "class_names": tuple(names),
        "class_counts": (*COUNTS[: len(names)], *[150] * (len(names) - len(COUNTS))),
        "label_values": tuple(range(len(names))),
        "dropped": (DroppedClass(label=4, name="cigar", n_images=34),),
        "split": "fixed",
        "resample": False,
        "n_pool": 1240,
    }
    return Manifest(
        name=name,
        command=f"python -m sweep.run --preset toy --name {name}",
        preset="toy",
        protocol=protocol,
        backbones=tuple(
            Backbone(arch=a, weights=weights, weights_sha256=sha256(weights.encode()).hexdigest())
            for a in dict.fromkeys((arch, *others))
        ),
        settings={"split_seed": 0, "group_sky": True, "max_epochs": 60},
        data=DataInfo(**known | data),
        cells=tuple(replace(cell, protocols=cell.protocols or (protocol,)) for cell in cells),
        experiments={"run-0": tuple(cell.id for cell in cells)},
        created="2026-01-02T03:04:05",
        versions={"torch": "2.0", "ray": "2.60.0"},
        git_commit="0123abc",
        device="cpu",
    )


def with_data(results, **changes):
    """The same results of other data; `changes` as of `DataInfo`."""
    manifests = (replace(m, data=replace(m.data, **changes)) for m in results.manifests)
    return replace(results, manifests=tuple(manifests))


def cell(init, fraction, seed, *, n_full=992, n_val=248, scored_hash="v", arch=ARCH):
    """One cell of a manifest, of the manifest's own protocol and, by default, architecture."""
    config = TrainingConfig(
        protocol="demo",
        init=init,
        fraction=fraction,
        seed=seed,
        data=DataConfig(path="/data/images.h5", sha256=SHA, split="fixed"),
        arch=arch,
        weights=None if init == "scratch" else "toy-weights",
        trained="all" if init == "scratch" else "head",
        transform="resize",
        learning_rate=1e-3,
        weight_decay=0.01,
        batch_size=32,
        max_epochs=60,
        stopping=Stopping(rule="paper", delta=0.03, patience=3),
    )
    return Cell(
        id=f"{'' if arch == ARCH else f'{arch}-'}{init}-{fraction * 100:g}-s{seed}",
        config=config,
        protocols=(),
        n_labels=round(n_full * fraction),
        n_train=round(n_full * fraction),
        n_val=n_val,
        n_test=0,
        folds=0,
        split_hash=f"s{fraction}",
        scored_hash=scored_hash,
        parameters=806_000,
        trained_parameters=806_000 if init == "scratch" else 774,
        forward_flops=26_000_000,
    )


def configured(cell, **changes):
    """The cell with another configuration."""
    return replace(cell, config=replace(cell.config, **changes))


def control(cells):
    """Controls with the labels of the cells' pre-trained models: probes on untrained networks."""
    return [
        replace(
            configured(
                cell,
                init="scratch",
                weights=None,
                trained="probe",
                max_epochs=1,
                protocol="untrained",
            ),
            id=f"untrained-{cell.id}",
            protocols=("untrained",),
        )
        for cell in cells
        if cell.init == "pretrained"
    ]


def probed(cells):
    """The cells with linear probes in place of the heads."""
    return [
        replace(configured(cell, trained="probe", max_epochs=1), folds=5)
        if cell.init == "pretrained"
        else cell
        for cell in cells
    ]


def grid(fractions=(0.1, 0.25, 0.5, 1.0), seeds=(0, 1, 2), inits=("scratch", "pretrained"), **kw):
    """The cells of a full grid."""
    return [cell(i, f, s, **kw) for i in inits for f in fractions for s in seeds]


def paper_grid(seeds=(0,), **kw):
    """The paper's nine cells."""
    return [cell(i, f, s, n_full=13_921, n_val=3_481, **kw) for i, f in PAPER_CELLS for s in seeds]


def curve(init, fraction, seed, best, n_train):
    """Epoch rows of one trial: loss falls and turns, accuracy saturates."""
    rng = np.random.default_rng([seed, round(fraction * 1000), init == "scratch"])
    n = int((18 if init == "scratch" else 26) + 8 * fraction + rng.integers(0, 5))
    epoch = np.arange(1, n + 1)
    rise = 1 - 0.45 * np.exp(-epoch / (4 if init == "scratch" else 3))
    val = best * rise + rng.normal(0, 0.004, n)
    val *= best / val.max()
    bend = 0.0009 * (epoch - 0.6 * n).clip(0) ** 2
    loss = 2.6 * (1 - val) + 0.15 + bend
    train = np.minimum(0.99, val + 0.004 * epoch)
    seconds = (0.004 if init == "scratch" else 0.0026) * n_train + 0.3 + rng.normal(0, 0.05, n)
    frame = pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": 2.6 * (1 - train) + 0.1,
            "train_accuracy": train,
            "val_loss": loss,
            "val_accuracy": val,
            "val_macro_f1": val - 0.03,
            "learning_rate": 1e-3,
            "images_per_second": n_train / seconds.clip(0.1),
            "epoch_seconds": seconds.clip(0.1),
            "min_loss": np.minimum.accumulate(loss),
            "counter": np.r_[np.zeros(n - 1), 3],
            "best_val_accuracy": np.maximum.accumulate(val),
        }
    )
    return frame[list(EPOCH_COLUMNS)]


def predictions(folder, best, n_val, n_classes, seed, epoch=7):
    """Store predictions of exactly round(best·n_val) right answers; easy images are shared."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, n_classes, n_val)
    ease = rng.random(n_val) + np.random.default_rng(seed).normal(0, 0.12, n_val)
    right = np.zeros(n_val, dtype=bool)
    right[np.argsort(-ease, kind="stable")[: round(best * n_val)]] = True
    guess = np.where(
        right, labels, (labels + 1 + rng.integers(0, n_classes - 1, n_val)) % n_classes
    )
    chances = np.full((n_val, n_classes), 0.3 / (n_classes - 1), dtype=np.float32)
    chances[np.arange(n_val), guess] = 0.7
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "predictions.npz",
        rows=np.arange(n_val) * 3,
        labels=labels,
        probabilities=chances,
        epoch=epoch,
    )
    (folder / "record.json").write_text(json.dumps({"config": {}, "device": "cpu"}))


def progress(folder, rows, *, finished, stopped_early=None):
    """Store the epochs of a trial and how far it is, as its checkpoint has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "epochs.json").write_text(json.dumps(rows))
    best = max(rows, key=lambda row: row["val_accuracy"])
    status = {
        "epoch": len(rows),
        "max_epochs": 60,
        "finished": finished,
        "stopped_early": finished if stopped_early is None else stopped_early,
        "best_epoch": best["epoch"],
        "best_val_accuracy": best["val_accuracy"],
        "test_accuracy": None,
    }
    (folder / "status.json").write_text(json.dumps(status))


def _accuracy(accuracy, cell):
    """Of a cell, by a function of init, training images and seed, or by one for each architecture."""
    one = accuracy[cell.config.arch] if isinstance(accuracy, dict) else accuracy
    return one(cell.init, cell.n_train, cell.seed)


def sweep(folder: Path, cells, *, epochs=6, accuracy=accuracy_of, **kw) -> Manifest:
    """A sweep's folder as its trials leave it, each with one checkpoint; Ray is not needed."""
    made = manifest(cells, **kw)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(made.to_json())
    np.savez(folder / "examples.npz", images=pictures(len(made.data.class_names)))
    for number, one in enumerate(made.cells):
        best = round(_accuracy(accuracy, one) * one.n_val) / one.n_val
        frame = curve(one.init, one.fraction, one.seed, best, one.n_train)
        last = int(frame["val_accuracy"].idxmax())
        part = frame[last - epochs + 1 : last + 1].assign(epoch=range(1, epochs + 1))
        part = part.assign(min_loss=part["val_loss"].cummin(), best_epoch=epochs)
        checkpoint = folder / "run-0" / one.id / "checkpoint_000000"
        predictions(checkpoint, best, one.n_val, len(made.data.class_names), number)
        progress(checkpoint, part.to_dict("records"), finished=True)
    return made


def results(folder: Path, cells, accuracy=accuracy_of, status=None, **kw) -> Results:
    """Results with stored predictions under `folder`; `status`: by cell id, (status, error)."""
    made = manifest(cells, **kw)
    rows, epochs = [], []
    for number, one in enumerate(made.cells):
        key = {"trial": one.id, "init": one.init, "fraction": one.fraction, "seed": one.seed}
        state, error = (status or {}).get(one.id, ("complete", ""))
        best = round(_accuracy(accuracy, one) * one.n_val) / one.n_val
        frame = curve(one.init, one.fraction, one.seed, best, one.n_train)
        if state != "not started":
            n_classes = len(made.data.class_names)
            predictions(folder / one.id, best, one.n_val, n_classes, number)
            epochs.append(frame.assign(**key))
        started = state != "not started"
        sizes = ("n_labels", "n_train", "n_val", "n_scored", "split_hash", "scored_hash")
        sizes += ("parameters", "trained_parameters", "forward_flops")
        rows.append(
            {
                **key,
                "cell": one.id,
                "arch": one.config.arch,
                "protocol": one.protocols[0],
                "protocols": one.protocols,
                "sweep": made.name,
                **{name: getattr(one, name) for name in sizes},
                "max_epochs": 60,
                "status": state,
                "error": error,
                "epochs": len(frame) if started else 0,
                "accuracy": best if started else None,
                "loss": frame["val_loss"].min() if started else None,
                "best_val_accuracy": best if started else None,
                "best_val_loss": frame["val_loss"].min() if started else None,
                "best_epoch": int(frame["epoch"][frame["val_accuracy"].idxmax()])
                if started
                else None,
                "epoch_seconds": frame["epoch_seconds"].mean() if started else None,
                "total_seconds": frame["epoch_seconds"].sum() if started else None,
                "stopped_early": started,
                "checkpoint": str(folder / one.id) if started else None,
            }
        )
    trials = pd.DataFrame(rows).sort_values(
        ["init", "fraction", "seed"], ascending=[False, True, True], ignore_index=True
    )
    return Results(
        manifests=(made,),
        trials=trials,
        epochs=pd.concat(epochs, ignore_index=True)
        if epochs
        else pd.DataFrame(columns=["trial", "init", "fraction", "seed", *EPOCH_COLUMNS]),
        examples=pictures(len(made.data.class_names)),
    )


def pictures(n, size=48):
    """(n, size, size, 3) uint8: an ellipse per class."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    images = [np.exp(-6 * (x**2 + (y * (1 + k)) ** 2)) for k in range(n)]
    return (np.stack(images)[..., None] * (255, 230, 200)).astype(np.uint8)
