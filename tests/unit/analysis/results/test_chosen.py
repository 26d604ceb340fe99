"""Which trials are chosen by validation, and what is said of them."""

from dataclasses import replace

from helpers import synthetic

from analysis.results.chosen import best_trials


def results_of(make_results, **kw):
    cells = [replace(c, n_test=248) for c in synthetic.grid((1.0,))]
    return make_results(cells, split="budget", **kw)


def test_a_method_that_is_better_on_the_test_set_is_named(make_results):
    results = results_of(make_results)
    trials = results.trials
    scratch = trials["init"] == "scratch"
    lucky = trials["best_val_accuracy"].where(~scratch, 0.99)
    worse = trials["accuracy"].where(~scratch, 0.2)
    (chosen,) = best_trials(
        replace(results, trials=trials.assign(best_val_accuracy=lucky, accuracy=worse))
    )
    assert chosen.cell.init == "scratch"
    best = trials.loc[~scratch].sort_values("best_val_accuracy").iloc[-1]["trial"]
    mean = 100 * trials.loc[~scratch, "accuracy"].mean()
    assert f"trials like {best} are right on {mean:.1f}% on average" in chosen.reason
    assert "those like this one on 20.0%" in chosen.reason
    assert f"consider --trial {best}" in chosen.reason


def test_nothing_is_said_if_both_agree(make_results):
    results = results_of(make_results)
    trials = results.trials
    better = trials["init"] == "pretrained"
    sure = trials.assign(
        accuracy=trials["accuracy"].where(better, 0.1),
        best_val_accuracy=trials["best_val_accuracy"].where(better, 0.1),
    )
    (chosen,) = best_trials(replace(results, trials=sure))
    assert chosen.cell.init == "pretrained"
    assert "--trial" not in chosen.reason
    first, second = best_trials(replace(results, trials=sure), 2)
    assert first.validation_accuracy >= second.validation_accuracy
