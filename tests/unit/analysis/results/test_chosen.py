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


def test_the_method_is_chosen_before_the_trial(make_results):
    """One lucky trial does not make its method the best; within a method the luckiest comes first."""
    results = results_of(make_results)
    scratch = results.trials["init"] == "scratch"
    accuracy = results.trials["best_val_accuracy"].where(scratch, 0.6).where(~scratch, 0.3)
    lucky = results.trials.index[scratch][0]
    accuracy[lucky] = 0.9
    pretrained = results.trials.index[~scratch][1]
    accuracy[pretrained] = 0.61
    results = replace(results, trials=results.trials.assign(best_val_accuracy=accuracy))
    everything = best_trials(results, len(results.trials))
    inits = [chosen.cell.init for chosen in everything]
    number = int((~scratch).sum())
    assert inits == ["pretrained"] * number + ["scratch"] * int(scratch.sum())
    names = results.trials["trial"]
    assert everything[0].name == names[pretrained]
    assert everything[number].name == names[lucky]
    mean = 100 * accuracy[~scratch].mean()
    assert f"the best of 2 ({mean:.1f}% over {number} of its trials)" in everything[0].reason
    assert f"number {number + 1} by validation accuracy (90.0%)" in everything[number].reason
    assert "its is number 2 of 2" in everything[number].reason
