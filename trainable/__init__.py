"""One training run: data, model, engine. Knows nothing of sweeps; only ``trial`` knows Ray."""
