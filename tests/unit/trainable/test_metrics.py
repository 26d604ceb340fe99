import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss

from trainable.metrics import scores


def test_worked_by_hand():
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    found = scores(logits, torch.tensor([0, 0, 1, 1]))
    right, wrong = np.log(1 + np.exp(-2)), np.log(1 + np.exp(2))
    assert found["accuracy"] == 0.75
    assert found["loss"] == pytest.approx((3 * right + wrong) / 4, rel=1e-12)
    assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)


def test_agrees_with_scikit_learn():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(101, 5)), random.integers(0, 5, 101)
    found = scores(torch.from_numpy(logits), torch.from_numpy(labels))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found["loss"] == pytest.approx(log_loss(labels, shares))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, logits.argmax(1), average="macro"))


def test_is_no_mean_of_batch_means():
    """109 images in batches of 32 leave one of 13, which must not weigh as much as the others."""
    logits = torch.zeros(109, 2)
    logits[:96, 0] = 5.0  # right where the label is 0
    logits[96:, 1] = 5.0  # the last, smaller batch is all wrong
    found = scores(logits, torch.zeros(109, dtype=torch.int64))
    assert found["accuracy"] == pytest.approx(96 / 109)
    assert found["accuracy"] != pytest.approx(3 / 4)


def test_a_class_that_is_absent_counts_zero():
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    assert scores(logits, torch.tensor([0, 1]))["macro_f1"] == pytest.approx(2 / 3)
