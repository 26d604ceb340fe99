"""``pytest -m gpu -n0``: the lines of ``make gpu-check``, each check a test."""

import pytest
import torch

from benchmarks.gpu_check.checks import CHECKS, full, run_check

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("default"),  # as in the program
]


@pytest.fixture(scope="module")
def setup():
    return full(torch.device("cuda"))


@pytest.mark.parametrize("name", CHECKS)
def test_no_line_fails(name, setup):
    lines = run_check(name, setup)
    assert not [line.error or line.text() for line in lines if line.status == "FAIL"]
