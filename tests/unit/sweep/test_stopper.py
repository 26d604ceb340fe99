import pickle

import pytest

from sweep.stopper import EarlyStopper
from trainable.early_stopping import EarlyStopping
from trainable.protocol import Stopping

LOSSES = [1.0, 0.8, 0.9, 0.7, 0.9, 0.65, 0.9, 0.9, 0.9]


@pytest.mark.parametrize(("rule", "last"), [("paper", 7), ("resetting", 9)])
def test_ends_a_trial_where_its_rule_does(rule, last):
    """By hand: rises over min + 0.05 at epochs 3, 5, 7, 8, 9; new minima at 4 and 6 reset."""
    counting = EarlyStopping(Stopping(rule=rule, delta=0.05, patience=3))
    stopper = EarlyStopper()
    for epoch, loss in enumerate(LOSSES, 1):
        counting.update(loss)
        stopper = pickle.loads(pickle.dumps(stopper))  # what a restore does, at every epoch
        row = {"epoch": epoch, "max_epochs": 100, "patience": 3, "counter": counting.counter}
        assert stopper("trial", row) == (epoch >= last)
    assert not stopper.stop_all()


def test_ends_a_trial_at_its_last_epoch():
    row = {"max_epochs": 5, "patience": 3, "counter": 0}
    assert not EarlyStopper()("trial", row | {"epoch": 4})
    assert EarlyStopper()("trial", row | {"epoch": 5})
