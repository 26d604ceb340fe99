"""What is checked before a sweep, what is taken over on resuming, and how its end is judged."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import OutOfMemoryError

from sweep import orchestrate
from sweep.cells import describe, describe_cells
from sweep.dry_run import shared_features
from sweep.grid import SweepConfig
from sweep.live_table import LiveTable
from sweep.outcomes import TrialOutcome
from sweep.storage import Folder
from trainable import devices
from trainable.data import download
from trainable.devices import Gpu
from trainable.errors import (
    ResourcesError,
    SettingsError,
    SweepError,
    UserError,
    WeightsError,
)
from trainable.machine import Memory
from trainable.models.architectures import ARCHITECTURES
from trainable.prepare import prepare


@pytest.fixture
def config(survey_path, weights_path):
    return SweepConfig(
        data=str(survey_path),
        arch=("vit_demo",),
        weights=(str(weights_path),),
        fractions=(1.0,),
        seeds=(0,),
        gpus=0,
    )


def manifest_of(config):
    prepared = prepare(config)
    cells = describe_cells(prepared, config.cells()).require_all()
    return describe(prepared, config, cells, "name", "command")


class TestAbsolute:
    def test_every_path_is(self, config, weights_path, survey_path, monkeypatch):
        monkeypatch.chdir(survey_path.parent)
        given = replace(
            config,
            data=survey_path.name,
            weights=(os.path.relpath(weights_path),),
            cache_dir=Path("cache"),
            storage_path="results",
        )
        found = orchestrate.absolute(given)
        assert found.data == str(survey_path)
        (weights,) = found.weights
        assert Path(weights).is_absolute()
        assert Path(weights).resolve() == weights_path.resolve()
        assert found.cache_dir == survey_path.parent / "cache"
        assert found.storage_path == str(survey_path.parent / "results")
        assert orchestrate.absolute(found) == found

    def test_weights_of_several_architectures_are(self, config, weights_path, monkeypatch):
        monkeypatch.chdir(weights_path.parent)
        given = replace(
            config, arch=("vit_demo", "vit_b_16"), weights=(f"vit_b_16={weights_path.name}",)
        )
        found = orchestrate.absolute(given)
        assert found.weights == (f"vit_b_16={weights_path}",)
        assert orchestrate.absolute(found) == found

    def test_names_and_addresses_stay(self, config, tmp_path):
        given = replace(
            config, data="mock", weights=("photographs",), storage_path=tmp_path.as_uri()
        )
        assert orchestrate.absolute(given) == given

    def test_an_unknown_architecture_is_refused(self, config):
        with pytest.raises(SettingsError, match="no_such_network"):
            orchestrate.absolute(replace(config, arch=("no_such_network",)))


def lay_out(config):
    return orchestrate.lay_out(config, None, "command", lambda done, total: None, print)


H100 = Gpu(name="NVIDIA H100", capability=(9, 0), memory=80 << 30)


class TestGpus:
    @pytest.fixture
    def without(self, config, monkeypatch, tmp_path):
        """A sweep on a GPU, on a machine that has none."""
        monkeypatch.setattr(devices, "usable_gpus", lambda: ())
        return replace(config, gpus=1, storage_path=str(tmp_path))

    @pytest.mark.parametrize(
        ("mistake", "message"),
        [
            ({"data": "nowhere.h5"}, "nowhere.h5 does not exist"),
            ({"weights": ("nothing",)}, "no weights 'nothing'"),
            ({"arch": ("vit_b_16",)}, "do not fit the architecture"),
            ({"fractions": (0.001,)}, "trials cannot run"),
            ({}, "--gpus 1, but torch sees no GPU"),
        ],
    )
    def test_mistakes_in_data_and_weights_are_told_first(self, without, mistake, message):
        with pytest.raises(UserError, match=message):
            lay_out(replace(without, **mistake))

    def test_before_galaxy10_is_fetched(self, without, monkeypatch):
        """Neither 2.5 GB for nothing, nor the wrong mistake."""
        monkeypatch.setattr(download, "find_galaxy10", lambda: None)
        monkeypatch.setattr(orchestrate, "prepare", None)
        galaxy10 = replace(without, data="galaxy10")
        with pytest.raises(ResourcesError, match="--gpus 1, but torch sees no GPU"):
            lay_out(galaxy10)
        with pytest.raises(WeightsError, match="no weights 'nothing'"):
            lay_out(replace(galaxy10, weights=("nothing",)))

    def test_what_auto_means_is_in_the_manifest(self, without, monkeypatch, capsys):
        """For both inits alike; a plain CPU keeps float32."""
        monkeypatch.setattr(devices, "usable_gpus", lambda: (H100,))
        monkeypatch.setattr(devices, "compiler_missing", lambda: None)
        monkeypatch.setattr(orchestrate, "compiler_missing", lambda: None)
        sweep = lay_out(without)
        assert sweep.manifest.device == "NVIDIA H100"
        assert {cell.init for cell in sweep.manifest.cells} == {"scratch", "pretrained"}
        for cell in sweep.manifest.cells:
            assert (cell.config.precision, cell.config.compile) == ("bf16", True)
        again = SweepConfig.from_settings(sweep.manifest.settings)
        assert (again.precision, again.compile) == ("bf16", "on")
        assert sweep.config == sweep.prepared.settings == again
        assert "1 x NVIDIA H100: trials train in bf16, compiled" in capsys.readouterr().out
        on_a_cpu = lay_out(replace(without, gpus=0, name="on-a-cpu")).manifest
        assert {cell.config.precision for cell in on_a_cpu.cells} == {"fp32"}
        assert on_a_cpu.settings["precision"] == "fp32"

    def test_auto_on_resuming_is_what_it_was(self, config):
        earlier = manifest_of(replace(config, precision="bf16", compile="on"))
        found = orchestrate.as_before(config, earlier)
        assert (found.precision, found.compile) == ("bf16", "on")
        chosen = replace(config, precision="fp32", compile="off")
        assert orchestrate.as_before(chosen, earlier) == chosen

    def test_a_cluster_is_asked_when_it_is_joined(self, without, monkeypatch):
        sweep = lay_out(replace(without, address="auto"))
        assert sweep.config.precision == "auto"
        for name in ("start_ray", "check", "prepare", "require"):
            place = orchestrate if name == "start_ray" else orchestrate.preflight
            monkeypatch.setattr(place, name, lambda *_, **__: None)
        t4 = replace(H100, name="NVIDIA T4", capability=(7, 5))
        for gpus, precision in (((H100,), "bf16"), ((H100, t4), "fp32")):
            monkeypatch.setattr(orchestrate.preflight, "gpus", lambda needs, gpus=gpus: gpus)
            manifest = orchestrate.start(sweep, print).manifest
            assert {cell.config.precision for cell in manifest.cells} == {precision}
            assert manifest.settings["precision"] == precision

    @pytest.mark.parametrize("elsewhere", [{"dry_run": True}, {"address": "auto"}, {"gpus": 0}])
    def test_no_gpu_is_needed_where_none_will_train(self, without, elsewhere):
        assert orchestrate.gpus_for(replace(without, **elsewhere)) == ()


class TestResumable:
    def test_files_are_where_they_are_now(self, config, survey_path, weights_path, tmp_path):
        earlier = manifest_of(replace(config, seeds=(0, 1)))
        data = tmp_path / "moved.h5"
        weights = tmp_path / "moved.safetensors"
        data.write_bytes(survey_path.read_bytes())
        weights.write_bytes(weights_path.read_bytes())
        now = replace(
            config,
            data=str(data),
            weights=(str(weights),),
            cache_dir=tmp_path / "cache",
            seeds=(1, 2),
        )
        manifest = orchestrate.resumable(earlier, manifest_of(now))
        assert [cell.id for cell in manifest.cells][:4] == [cell.id for cell in earlier.cells]
        assert len(manifest.cells) == 6
        assert manifest.data.path == str(data)
        again = SweepConfig.from_settings(manifest.settings)  # what the next --resume starts from
        assert (again.data, again.weights) == (str(data), (str(weights),))
        assert again.cache_dir == tmp_path / "cache"
        assert again.seeds == (0, 1)
        assert {cell.config.data.path for cell in manifest.cells} == {str(data)}
        assert {cell.config.data.cache_dir for cell in manifest.cells} == {str(tmp_path / "cache")}
        assert {cell.config.weights for cell in manifest.cells} == {None, str(weights)}
        assert {cell.config.weights for cell in manifest.cells if cell.init == "scratch"} == {None}

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"merge_labels": ("0+1",)}, "the list of classes was"),
            ({"learning_rate": 0.5}, "learning_rate of"),
            ({"split_seed": 3}, "split_seed was 0, is now 3"),
            ({"weights": ("photographs",)}, "SHA-256 of the weights"),
        ],
    )
    def test_other_settings_are_refused(self, config, change, what):
        with pytest.raises(SweepError, match="cannot be resumed with other settings") as error:
            orchestrate.resumable(manifest_of(config), manifest_of(replace(config, **change)))
        assert what in str(error.value)

    def test_an_architecture_may_be_added(self, config, monkeypatch):
        monkeypatch.setitem(ARCHITECTURES, "other", ARCHITECTURES["vit_demo"])
        earlier = manifest_of(config)
        added = replace(
            config, arch=("vit_demo", "other"), weights=(*config.weights, "other=rendered")
        )
        manifest = orchestrate.resumable(earlier, manifest_of(added))
        assert [cell.id for cell in manifest.cells][:2] == [cell.id for cell in earlier.cells]
        assert "other-pretrained-100-s0" in {cell.id for cell in manifest.cells}
        assert set(manifest.weights_sha256) == {"vit_demo", "other"}
        again = SweepConfig.from_settings(manifest.settings)  # what the next --resume starts from
        assert (again.arch, again.weights) == (config.arch, config.weights)

    def test_another_main_architecture_is_refused(self, config, monkeypatch):
        monkeypatch.setitem(ARCHITECTURES, "other", ARCHITECTURES["vit_demo"])
        now = manifest_of(replace(config, arch=("other", "vit_demo"), weights=()))
        with pytest.raises(SweepError, match="the architecture was 'vit_demo', is now 'other'"):
            orchestrate.resumable(manifest_of(config), now)

    def test_the_metric_of_the_report_may_change(self, config):
        now = manifest_of(replace(config, metric="macro_f1"))
        assert orchestrate.resumable(manifest_of(config), now).settings["metric"] == "macro_f1"

    def test_merged_is_not_dropped(self, config):
        """Both leave two classes whose first labels are the same."""
        merged = manifest_of(replace(config, merge_labels=("0+1",)))
        with pytest.raises(SweepError, match="the list of classes was"):
            orchestrate.resumable(merged, manifest_of(replace(config, drop_labels=(1,))))

    def test_a_folder_that_is_no_sweep(self, tmp_path):
        for folder in (Folder(tmp_path), Folder(tmp_path.as_uri())):
            with pytest.raises(SweepError, match="is not a sweep"):
                orchestrate.read_manifest(folder)


def stand(monkeypatch, *trials):
    """What the trials have written."""
    by_cell = {trial.cell: trial for trial in trials}
    monkeypatch.setattr(orchestrate, "trial_outcome", lambda experiment, cell: by_cell[cell])


def a_trial(cell, *, epoch=0, finished=False, error=None):
    return TrialOutcome(cell=cell, epoch=epoch, finished=finished, error=error)


def test_an_error_belongs_to_the_trial_whose_folder_it_is_in(monkeypatch):
    """The failed one shows the configuration of the trial before, as a reused process leaves it."""
    stand(monkeypatch, a_trial("a", epoch=3, finished=True), a_trial("b"), a_trial("c", epoch=1))
    metrics = {"config": {"cell": "a"}, "finished": 1}
    error = RuntimeError("Traceback …\nKeyError: 'x'\n")
    grid = [
        SimpleNamespace(path="/storage/run-0/a", error=None, metrics=metrics, config={"cell": "a"}),
        SimpleNamespace(
            path="/storage/run-0/b", error=error, metrics=metrics, config={"cell": "a"}
        ),
        SimpleNamespace(path="/storage/run-0/c", error=None, metrics={}, config=None),
    ]
    outcome = orchestrate.Outcome()
    orchestrate.take_in(outcome, grid, Folder("/storage/run-0"), ["a", "b", "c"])
    assert outcome.finished == {"a"}
    assert outcome.failed == {"b": "KeyError: 'x'"}
    assert outcome.unfinished == {"c"}


def test_the_longest_trial_starts_first(config):
    """Whatever its seed: none is left to the end, when the other GPUs have nothing to do."""
    config = replace(config, fractions=(0.5, 1.0), seeds=(0, 1), trained=("head",))
    manifest = manifest_of(config)
    cells = [cell.id for cell in manifest.cells]
    assert orchestrate.longest_first(reversed(cells), manifest) == [
        *("scratch-100-s1", "scratch-100-s0", "scratch-050-s1", "scratch-050-s0"),
        *("pretrained-100-s1", "pretrained-100-s0", "pretrained-050-s1", "pretrained-050-s0"),
    ]


def test_trials_that_need_other_features_start_first(config):
    """Each of two untrained networks and the pre-trained one, before any that would wait for them."""
    probes = replace(
        config,
        trained=("probe",),
        inits=("pretrained",),
        controls=("untrained",),
        seeds=(0, 1),
        fractions=(0.5, 1.0),
    )
    manifest = manifest_of(probes)
    order = orchestrate.longest_first([cell.id for cell in manifest.cells], manifest)
    needed = [shared_features(manifest.cell(cell)) for cell in order]
    assert None not in needed
    different = len(set(needed))
    assert different == 3
    assert len(needed) > different
    assert len(set(needed[:different])) == different


def shortage(pid=7):
    error = RuntimeError("Caught unexpected exception")
    error.__cause__ = OutOfMemoryError(
        "was 22.00GB used / 23.00GB limit (0.95)\n"
        f"(Actor(1): pid={pid}, actual memory used=5.00GB, worker ID=4)"
    )
    return error


class TestMemory:
    @pytest.fixture
    def run(self, config, monkeypatch, tmp_path):
        """Run an experiment whose attempts end as given; what was said, and the outcome."""
        manifest = manifest_of(replace(config, inits=("scratch",)))
        (cell,) = manifest.cells
        calls = SimpleNamespace(stop=0, start=0, said=[], waited=[], epoch=0)
        monkeypatch.setattr(
            orchestrate.ray, "shutdown", lambda: setattr(calls, "stop", calls.stop + 1)
        )
        monkeypatch.setattr(
            orchestrate, "start_ray", lambda config: setattr(calls, "start", calls.start + 1)
        )
        monkeypatch.setattr(orchestrate, "memory_below", lambda: 1_000_000_000)
        monkeypatch.setattr(
            orchestrate, "wait_until_used_is_below", lambda limit: calls.waited.append(limit)
        )

        def run(*ends):
            remaining = iter(ends)

            def experiment(config, folder, name, runs, callbacks):
                end = next(remaining)
                if isinstance(end, BaseException):
                    raise end
                calls.epoch = end
                return []

            def outcome_of(experiment, name):
                calls.epoch += getattr(calls, "each", 0)
                return a_trial(name, epoch=calls.epoch, finished=calls.epoch >= 100)

            monkeypatch.setattr(orchestrate, "run_experiment", experiment)
            monkeypatch.setattr(orchestrate, "trial_outcome", outcome_of)
            sweep = orchestrate.Sweep(
                config=config,
                folder=Folder(tmp_path),
                prepared=prepare(config),
                manifest=manifest,
                cannot_run={},
                lock=None,
            )
            table = LiveTable(manifest.cells, "name")
            table.state[cell.id] = "running"
            outcome = orchestrate.Outcome()
            orchestrate._run_while_there_is_memory(
                sweep, "run-0", {cell.id: cell.config}, table, outcome, calls.said.append
            )
            return outcome

        return run, calls, cell.id

    def test_the_trial_is_taken_up_again_when_there_is_room(self, run):
        run, calls, cell = run
        outcome = run(shortage(), 100)
        assert outcome.finished == {cell}
        assert (calls.stop, calls.start) == (1, 1)
        assert calls.waited == [22e9 - 5e9 - 1e9]  # all that is not the sweep's
        (line,) = calls.said
        for part in (f"{cell}: ended by Ray", "5.0 GB", "22.0 of 23.0 GB", "--cpus"):
            assert part in line

    @pytest.mark.parametrize(("epochs", "kept"), [(100, False), (3, True)])
    def test_what_trained_together_is_kept_while_a_trial_may_ask_for_it(
        self, run, tmp_path, epochs, kept
    ):
        run, *_ = run
        folder = tmp_path / "run-0" / orchestrate.TOGETHER
        folder.mkdir(parents=True)
        run(epochs)
        assert folder.exists() == kept

    def test_a_sweep_that_can_never_have_room_ends(self, run):
        run, calls, cell = run
        outcome = run(*[shortage()] * 4)
        assert calls.start == orchestrate.MEMORY_RETRIES
        assert list(outcome.failed) == [cell]
        assert "short of memory" in outcome.failed[cell]
        assert outcome.unfinished == set()

    def test_as_often_as_there_is_an_epoch_in_between(self, run):
        run, calls, cell = run
        calls.each = 1
        assert run(*[shortage()] * 8, 100).finished == {cell}
        assert calls.start == 8

    def test_any_other_error_is_raised(self, run):
        run, *_ = run
        with pytest.raises(RuntimeError, match="a bug"):
            run(RuntimeError("a bug"))


def test_waiting_ends_when_others_have_given_back(monkeypatch):
    used = iter([9, 8, 5])
    monkeypatch.setattr(orchestrate, "memory", lambda: Memory(limit=10, used=next(used)))
    slept = []
    monkeypatch.setattr(orchestrate.time, "sleep", slept.append)
    orchestrate.wait_until_used_is_below(5)
    assert len(slept) == 2
