"""The Ray Tune sweep: the grid of trials, their resources, storage, progress and restore.

Ray reads some of its settings when it is imported, so they are made here, ahead of that. Ray's own
tables and warnings stay off the terminal; its logs go to its files.
"""

import os

from sweep.user_folder import provide_home

provide_home()
for _key, _value in {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without a GPU sees none
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # they are in the trial's error.txt; we print a line
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}.items():
    os.environ.setdefault(_key, _value)
