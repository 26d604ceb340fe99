"""``python -m trainable`` in a process of its own."""

import re
import subprocess
import sys

import pytest


def test_a_bug_ends_the_process_with_code_1_and_its_traceback(survey_path, tmp_path):
    code = (
        "import sys, trainable.run\n"
        "def bug(run): raise ValueError('a bug')\n"
        "trainable.run.TrainingRun.step_epoch = bug\n"
        "from trainable.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    flags = ["--data", survey_path, "--arch", "vit_demo", "--init", "scratch", "--device", "cpu"]
    command = [sys.executable, "-c", code, *flags, "--out", tmp_path / "a"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1
    assert "Traceback" in process.stderr
    assert process.stderr.rstrip().endswith("ValueError: a bug")


@pytest.mark.parametrize("module", ["trainable.__main__", "trainable.pretrain.__main__"])
def test_help_needs_neither_torch_nor_ray(module):
    """And every flag has its line of help."""
    code = (
        f"import sys, {module} as command\n"
        "try: command.main(['--help'])\n"
        "except SystemExit as error: code = error.code\n"
        "print('loaded:', *sorted({'torch', 'ray', 'h5py', 'numpy'} & set(sys.modules)))\n"
        "sys.exit(code)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    *text, loaded = process.stdout.splitlines()
    assert loaded == "loaded:"
    assert "--seed INT" in process.stdout
    plain = " ".join(line.strip("│╭╮╰╯─ ") for line in text)
    flags = re.split(r" (?=--[a-z-]+[ ,])", plain.partition("show this help")[2])[1:]
    assert len(flags) > 8
    for flag in flags:
        if "(default" in flag or "(required)" in flag:
            assert re.search(r"[A-Za-z]{3,} .*[.] \((default|required)", flag), flag
