import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.early_stopping import EarlyStopping
from trainable.errors import SettingsError
from trainable.protocol import Stopping

PAPER = Stopping(rule="paper", delta=0.03, patience=3)
RESETTING = Stopping(rule="resetting", delta=0.03, patience=3)

# losses → counter after each epoch, worked by hand; δ = 0.25 and 0.5 are exact in binary
SEQUENCES = [
    # a rise within δ is not counted by either rule; a rise of exactly δ by the authors' alone
    ("paper", 0.25, [1.0, 1.125, 1.25, 1.3125], [0, 0, 0, 1]),
    ("resetting", 0.25, [1.0, 1.125, 1.25, 1.3125], [0, 0, 1, 2]),
    # a new minimum resets the counter by the authors' rule alone
    ("paper", 0.5, [1.0, 2.0, 0.5, 2.0, 0.25, 2.0], [0, 1, 1, 2, 2, 3]),
    ("resetting", 0.5, [1.0, 2.0, 0.5, 2.0, 0.25, 2.0], [0, 1, 0, 1, 0, 1]),
    # an equal loss is no new minimum; with δ = 0 the authors' rule counts it
    ("paper", 0.0, [1.0, 1.0, 1.5, 1.0], [0, 0, 1, 1]),
    ("resetting", 0.0, [1.0, 1.0, 1.5, 1.0], [0, 1, 2, 3]),
    # the counter does not need rises in a row
    ("paper", 0.25, [1.0, 1.5, 1.0, 1.5, 1.0, 1.5], [0, 1, 1, 2, 2, 3]),
    ("resetting", 0.25, [1.0, 1.5, 1.0, 1.5, 1.0, 1.5], [0, 1, 1, 2, 2, 3]),
]


def test_without_a_rule_nothing_is_counted():
    stopper = EarlyStopping(Stopping(rule="none", delta=0.0, patience=1))
    assert [stopper.update(loss) for loss in (1.0, 2.0, 0.5, 9.0)] == [False] * 4
    assert (stopper.min_loss, stopper.counter) == (0.5, 0)


@pytest.mark.parametrize(("rule", "delta", "losses", "counters"), SEQUENCES)
def test_counts_as_worked_by_hand(rule, delta, losses, counters):
    stopper = EarlyStopping(Stopping(rule=rule, delta=delta, patience=3))
    seen = []
    for loss in losses:
        stopped = stopper.update(loss)
        seen.append(stopper.counter)
        assert stopped == (stopper.counter >= 3)
    assert seen == counters
    assert stopper.min_loss == min(losses)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_refuses_a_loss_that_is_not_finite(loss):
    with pytest.raises(ValueError, match="finite"):
        EarlyStopping(PAPER).update(loss)


@given(
    st.sampled_from([PAPER, RESETTING]),
    st.lists(st.floats(0, 5), min_size=1, max_size=30),
    st.integers(0, 30),
)
def test_restored_in_the_middle_goes_on_the_same(stopping, losses, cut):
    whole, first, second = (EarlyStopping(stopping) for _ in range(3))
    expected = [whole.update(loss) for loss in losses]
    seen = [first.update(loss) for loss in losses[:cut]]
    second.load_state_dict(first.state_dict())
    assert seen + [second.update(loss) for loss in losses[cut:]] == expected
    assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize(("delta", "patience"), [(-0.1, 3), (0.1, 0)])
def test_refuses_a_senseless_rule(delta, patience):
    with pytest.raises(SettingsError, match="patience"):
        Stopping(rule="paper", delta=delta, patience=patience)
