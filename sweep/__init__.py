"""The Ray Tune sweep: the grid of trials, their resources, storage, progress and restore."""
