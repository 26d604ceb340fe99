"""A trial that replays a script; Ray's workers import it by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import synthetic
from ray import tune


class ToyTrial(tune.Trainable):
    """Reports the rows of a synthetic curve; seed 1 at fraction 0.5 fails in its third epoch."""

    def setup(self, config):
        script = config["script"]
        run = script["run"]
        self.n_train, self.n_val = script["n_train"], script["n_val"]
        accuracy = synthetic.accuracy_of(run["init"], self.n_train, run["seed"])
        self.best = round(accuracy * self.n_val) / self.n_val
        key = (run["init"], run["fraction"], run["seed"])
        frame = synthetic.curve(*key, self.best, self.n_train)
        last = frame["val_accuracy"].idxmax()
        part = frame[last - 5 : last + 1]
        part = part.assign(epoch=range(1, 7), min_loss=part["val_loss"].cummin())
        self.rows = part.to_dict("records")
        self.key = key
        self.epoch = 0

    def step(self):
        row = self.rows[self.epoch]
        self.epoch += 1
        if self.key[1:] == (0.5, 1) and self.epoch == 3:
            raise RuntimeError("the disk is full (made up)")
        last = self.epoch == len(self.rows)
        stop = {"counter": 3 if last else 0, "patience": 3, "finished": int(last), "done": last}
        return row | stop

    def save_checkpoint(self, checkpoint_dir):
        number = [round(value * 100) for value in self.key[1:]] + [self.key[0] == "scratch"]
        synthetic.predictions(Path(checkpoint_dir), self.best, self.n_val, 6, np.array(number))

    def reset_config(self, new_config):
        self.setup(new_config)
        return True

    def load_checkpoint(self, checkpoint):
        raise AssertionError("the toy is never restored")
