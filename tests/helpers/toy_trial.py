"""A trial that replays a script; Ray's workers import it by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers import synthetic
from ray import tune


class ToyTrial(tune.Trainable):
    """Reports the rows of a synthetic curve; seed 1 at fraction 0.5 fails in its third epoch.

    Its checkpoint has the files that the analysis reads of a real trial's.
    """

    def setup(self, config):
        script = config["script"]
        self.key = (script["init"], script["fraction"], script["seed"])
        self.n_train, self.n_val = script["n_train"], script["n_val"]
        accuracy = synthetic.accuracy_of(script["init"], self.n_train, script["seed"])
        self.best = round(accuracy * self.n_val) / self.n_val
        frame = synthetic.curve(*self.key, self.best, self.n_train)
        last = frame["val_accuracy"].idxmax()
        part = frame[last - 5 : last + 1]
        part = part.assign(epoch=range(1, 7), min_loss=part["val_loss"].cummin())
        self.rows = part.to_dict("records")
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
        folder = Path(checkpoint_dir)
        number = [round(value * 100) for value in self.key[1:]] + [self.key[0] == "scratch"]
        synthetic.predictions(folder, self.best, self.n_val, 6, np.array(number))
        synthetic.progress(folder, self.rows[: self.epoch], finished=self.epoch == len(self.rows))

    def reset_config(self, new_config):
        self.setup(new_config)
        return True

    def load_checkpoint(self, checkpoint):
        raise AssertionError("the toy is never restored")
