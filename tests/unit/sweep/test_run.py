"""The command line, before torch and Ray are imported."""

import pytest

from sweep.grid import GROUPS, PRESETS, SweepConfig
from sweep.run import as_typed, parse


@pytest.mark.parametrize("preset", PRESETS)
def test_flags_override_the_preset(preset):
    config, resumed = parse(["--preset", preset, "--seeds", "7", "--cpus", "2"])
    assert resumed is None
    assert (config.seeds, config.cpus) == ((7,), 2)
    assert config.protocol == PRESETS[preset].protocol
    assert config.fractions == PRESETS[preset].fractions


def test_the_demos_fewer_budgets_for_scratch_are_of_its_own_ones():
    def of_scratch(*flags):
        return parse(["--preset", "demo", *flags])[0].scratch_fractions

    assert set(of_scratch()) < set(PRESETS["demo"].fractions)
    assert of_scratch("--fractions", "0.5", "1") is None
    assert of_scratch("--budgets", "50") is None
    assert of_scratch("--fractions", "0.5", "1", "--scratch-fractions", "1") == (1.0,)
    paper = parse(["--preset", "paper", "--fractions", "0.5"])[0]
    assert paper.scratch_fractions == (1.0,), "its baseline"


def test_every_flag_is_under_one_heading():
    import dataclasses

    grouped = [field.name for group in GROUPS.values() for field in dataclasses.fields(group)]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {field.name for field in dataclasses.fields(SweepConfig)}


@pytest.mark.parametrize("group", GROUPS.values())
def test_every_flag_has_one_line_of_help(group):
    import ast
    import inspect
    import textwrap

    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(group))).body
    flags = [i for i, node in enumerate(definition.body) if isinstance(node, ast.AnnAssign)]
    for index in flags:
        text = ast.literal_eval(definition.body[index + 1].value)
        assert "\n" not in text
        assert text.endswith(".")


def test_a_path_is_shown_as_one_would_type_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert as_typed(f"{tmp_path}/ray_results/demo") == "ray_results/demo"
    assert as_typed("/elsewhere/demo") == "/elsewhere/demo"
    assert as_typed("s3://bucket/demo") == "s3://bucket/demo"
