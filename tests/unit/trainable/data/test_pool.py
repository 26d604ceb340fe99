import os
import time

import pytest

from trainable.data import pool
from trainable.data.pool import JOB, map_jobs, useful_processes
from trainable.errors import DataError


def total(numbers):
    if numbers[0] == 0:  # the first job is not the first to end
        time.sleep(0.2)
    return sum(numbers), os.getpid()


def refuse(numbers):
    if 100 in numbers:
        raise DataError("100 cannot be read")
    return numbers


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_whatever_the_number_of_processes(processes):
    n = 2 * pool.JOBS_OF_A_PROCESS * processes * JOB + 5  # more than is read ahead
    found = list(map_jobs(total, iter(range(n)), processes=processes))
    expected = [sum(range(start, min(start + JOB, n))) for start in range(0, n, JOB)]
    assert [value for value, _ in found] == expected
    assert (os.getpid() in {process for _, process in found}) == (processes == 1)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_goes_wrong_is_raised(processes):
    with pytest.raises(DataError, match="100 cannot be read"):
        list(map_jobs(refuse, range(500), processes=processes))

    def broken():
        yield from range(40)
        raise DataError("the file is damaged")

    with pytest.raises(DataError, match="the file is damaged"):
        list(map_jobs(refuse, broken(), processes=processes))


def test_nothing_gives_nothing():
    assert list(map_jobs(total, [], processes=2)) == []


def test_few_images_are_not_worth_a_process(monkeypatch):
    monkeypatch.setattr(pool, "usable_cpus", lambda: 8)
    assert [useful_processes(n) for n in (0, 724, 5000, 100_000)] == [1, 1, 2, 8]


def test_small_images_pay_for_a_process_in_larger_numbers(monkeypatch):
    monkeypatch.setattr(pool, "usable_cpus", lambda: 8)
    counts = (4600, 17_736, 100_000)
    assert [useful_processes(n, n * 128**2) for n in counts] == [1, 2, 8]
    assert [useful_processes(n, n * 424**2) for n in counts] == [2, 8, 8]
