import pytest

from benchmarks import learning_rates
from benchmarks.learning_rates import Search, best_accuracy, main, run_search, runs


@pytest.fixture
def search(survey_path, weights_path):
    return Search(
        data=str(survey_path),
        weights=(str(weights_path),),
        arch=("vit_demo",),
        protocol="demo",
        split_seed=100,
        seeds=(7, 8),
        max_epochs=1,
    )


def test_runs_differ_in_seed_and_rate_alone(search):
    cells = runs(search)
    assert {(init, trained) for init, trained, _ in cells} == {
        ("scratch", "all"),
        ("pretrained", "head"),
        ("pretrained", "all"),
    }
    for (_, trained, rate), configs in cells.items():
        assert [c.seed for c in configs] == [7, 8]
        assert {(c.trained, c.learning_rate, c.fraction) for c in configs} == {(trained, rate, 1.0)}
        assert {c.data.split_seed for c in configs} == {100}


def test_scores_are_told_with_their_rate(search, monkeypatch, capsys):
    def called(job):
        function, arguments, keywords = job
        return function(*arguments, **keywords)

    scores = {1e-3: 0.25, 2e-3: 0.5}
    monkeypatch.setattr(learning_rates, "METHODS", (("pretrained", "head", tuple(scores)),))
    monkeypatch.setattr(learning_rates, "best_accuracy", lambda c: scores[c.learning_rate])
    monkeypatch.setattr(learning_rates, "Parallel", lambda **_: lambda jobs: map(called, jobs))
    run_search(search)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for rate, score in (("0.001", "25.0"), ("0.002", "50.0")):
        assert next(row for row in rows if rate in row).count(score) == 2


def test_a_run_has_an_accuracy(search):
    config = runs(search)["pretrained", "head", learning_rates.HEAD_RATES[0]][0]
    assert 0 <= best_accuracy(config) <= 1


def test_the_command_is_of_the_demo_unless_told_otherwise(monkeypatch):
    found = []
    monkeypatch.setattr(learning_rates, "run_search", found.append)
    assert main(["--seeds", "7"]) == 0
    assert main(["--protocol", "paper", "--arch", "vit_b_16", "--data", "x.h5"]) == 0
    assert [(s.data, s.arch, s.protocol, s.split_seed, s.seeds) for s in found] == [
        ("mock", ("vit_demo",), "demo", 100, (7,)),
        ("x.h5", ("vit_b_16",), "paper", 100, (100, 101)),
    ]


def test_its_rates_are_not_overridden(capsys):
    assert main(["--learning-rate", "0.1"]) == 2
    assert "RATES" in capsys.readouterr().err
