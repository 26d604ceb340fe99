import pytest
import torch

from benchmarks.gpu_check.checks import small


@pytest.fixture(scope="package")
def setup():
    """The check in its form for a CPU."""
    return small(torch.device("cpu"))
