import numpy as np
import synthetic

from analysis.stacks import at_largest, described, same_images


def test_all_seeds_of_the_largest_shared_fraction(full_grid):
    stacks = at_largest(full_grid)
    assert list(stacks) == ["scratch", "pretrained"]
    for init, stack in stacks.items():
        assert stack.fraction == 1
        assert stack.trials == tuple(f"{init}-100-s{seed}" for seed in range(3))
        accuracies = full_grid.of(init, 1.0)["best_val_accuracy"]
        assert np.allclose(stack.correct.mean(axis=1), accuracies)
    assert same_images(stacks)
    assert stacks["scratch"].label == "scratch at 100 %, n = 3 seeds"
    assert described(stacks) == "Scratch and pretrained at 100 %, n = 3 seeds"


def test_inits_meet_at_a_fraction_that_both_have(make_results):
    cells = synthetic.grid((0.5,), (0,), inits=("scratch",)) + synthetic.grid(
        (0.5, 1.0), (0,), inits=("pretrained",)
    )
    assert {stack.fraction for stack in at_largest(make_results(cells)).values()} == {0.5}


def test_inits_without_a_shared_fraction_keep_their_own(make_results):
    cells = [synthetic.cell("scratch", 1.0, 0), synthetic.cell("pretrained", 0.5, 0)]
    stacks = at_largest(make_results(cells))
    assert {init: stack.fraction for init, stack in stacks.items()} == {
        "scratch": 1.0,
        "pretrained": 0.5,
    }
    assert described(stacks) == ("Scratch at 100 %, n = 1 seed and pretrained at 50 %, n = 1 seed")
    assert not same_images(stacks)


def test_one_init_alone(make_results):
    stacks = at_largest(make_results(synthetic.grid((1.0,), (0,), inits=("scratch",))))
    assert list(stacks) == ["scratch"]
    assert not same_images(stacks)


def test_seeds_with_other_validation_images(make_results, tmp_path):
    results = make_results(synthetic.grid((1.0,), (0, 1)))
    path = tmp_path / "scratch-100-s1" / "predictions.npz"
    stored = dict(np.load(path))
    stored["rows"] = stored["rows"] + 3  # the first image is another one, and so is the last
    np.savez(path, **stored)
    stack = at_largest(results)["scratch"]
    assert len(stack.rows) == 249
    assert stack.seen.sum(axis=1).tolist() == [248, 248]
    assert (stack.predicted == -1).sum() == 2
    assert not same_images(at_largest(results))


def test_nothing_stored_no_stack(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["checkpoint"] = None
    assert at_largest(results) == {}
