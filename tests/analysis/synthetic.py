"""Plainly synthetic results for the tests: curves from a formula, predictions by a die."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.frames import EPOCH_COLUMNS, Results
from trainable.protocol import PAPER_CELLS

NAMES = ("round", "in-between", "edge-on", "barred spiral", "tight spiral", "merging")
COUNTS = (260, 200, 140, 204, 183, 120)
SHA = "ab" * 32


def accuracy_of(init, n_train, seed=0):
    """A plausible best accuracy: pre-training helps most where labels are few."""
    top, scale = (0.74, 250) if init == "pretrained" else (0.72, 900)
    wobble = 0.006 * np.sin(7 * seed + n_train + (init == "scratch"))
    return top - 0.35 * np.exp(-np.sqrt(n_train / scale)) + wobble


def manifest(cells, *, name="toy", galaxy10=False, arch="vit_tiny", names=NAMES, **changes):
    """A manifest in the sweep's format; `cells` from `cell`."""
    data = {
        "name": "galaxy10" if galaxy10 else "mock",
        "path": "/data/images.h5",
        "sha256": SHA,
        "is_galaxy10": galaxy10,
        "image_size": 224 if galaxy10 else 32,
        "class_names": list(names),
        "class_counts": list(COUNTS[: len(names)]) + [150] * (len(names) - len(COUNTS)),
        "label_values": list(range(len(names))),
        "dropped": [[4, "cigar", 34]],
        "split": "fixed",
    }
    return {
        "format": 1,
        "name": name,
        "command": f"python -m sweep.run --preset toy --name {name}",
        "created": "2026-01-02T03:04:05",
        "preset": "toy",
        "protocol": "paper" if galaxy10 else "demo",
        "arch": arch,
        "weights": "toy-weights",
        "data": data,
        "cells": cells,
        "experiments": ["run-0"],
        "versions": {"torch": "2.0", "ray": "2.60.0"},
        "git_commit": "0123abc",
        "device": "cpu",
    } | changes


def cell(init, fraction, seed, *, n_full=992, n_val=248, val_hash="v"):
    """One cell of a manifest."""
    n_train = round(n_full * fraction)
    return {
        "id": f"{init}-{fraction * 100:g}-s{seed}",
        "run": {
            "init": init,
            "fraction": fraction,
            "seed": seed,
            "trained": "all" if init == "scratch" else "head",
            "learning_rate": 1e-3,
            "max_epochs": 60,
        },
        "n_train": n_train,
        "n_val": n_val,
        "split_hash": f"s{fraction}",
        "val_hash": val_hash,
        "trained_parameters": 806_000 if init == "scratch" else 774,
        "parameters": 806_000,
        "forward_flops": 26_000_000,
    }


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


def results(folder: Path, cells, accuracy=accuracy_of, status=None, **kw) -> Results:
    """Results with stored predictions under `folder`; `status`: by cell id, (status, error)."""
    made = manifest(cells, **kw)
    rows, epochs = [], []
    for number, made_cell in enumerate(cells):
        run = made_cell["run"]
        key = {"trial": made_cell["id"], **{k: run[k] for k in ("init", "fraction", "seed")}}
        n_val, n_train = made_cell["n_val"], made_cell["n_train"]
        state, error = (status or {}).get(made_cell["id"], ("complete", ""))
        best = round(accuracy(run["init"], n_train, run["seed"]) * n_val) / n_val
        frame = curve(run["init"], run["fraction"], run["seed"], best, n_train)
        if state != "not started":
            predictions(
                folder / made_cell["id"], best, n_val, len(made["data"]["class_names"]), number
            )
            epochs.append(frame.assign(**key))
        started = state != "not started"
        rows.append(
            {
                **key,
                "protocol": made["protocol"],
                "protocols": tuple(made_cell.get("protocols", [made["protocol"]])),
                "sweep": made["name"],
                **{k: v for k, v in made_cell.items() if k not in ("id", "run", "protocols")},
                "max_epochs": 60,
                "status": state,
                "error": error,
                "epochs": len(frame) if started else 0,
                "best_val_accuracy": best if started else None,
                "best_val_loss": frame["val_loss"].min() if started else None,
                "best_epoch": int(frame["epoch"][frame["val_accuracy"].idxmax()])
                if started
                else None,
                "epoch_seconds": frame["epoch_seconds"].mean() if started else None,
                "total_seconds": frame["epoch_seconds"].sum() if started else None,
                "stopped_early": started,
                "checkpoint": str(folder / made_cell["id"]) if started else None,
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
        examples=pictures(len(made["data"]["class_names"])),
    )


def pictures(n, size=48):
    """(n, size, size, 3) uint8: an ellipse per class."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    images = [np.exp(-6 * (x**2 + (y * (1 + k)) ** 2)) for k in range(n)]
    return (np.stack(images)[..., None] * (255, 230, 200)).astype(np.uint8)
