"""One training run, complete without a sweep; only `trainable.tune_trial` imports Ray.

Start at `trainable.protocol`, the paper's constants, and `trainable.run`, the training loop.
`trainable.config` has the settings of a run and `trainable.manifest` those of a sweep.
`trainable.data` reads, splits and caches images, `trainable.models` has the networks and their
weights, `trainable.mock` renders the survey that is there without a download, and
`trainable.pretrain` makes the weights that ship with the package.
"""

__version__ = "0.2.0"
