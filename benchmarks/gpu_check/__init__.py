"""Whether training on this machine's GPU is right, and as fast as it should be.

`python -m benchmarks.gpu_check` needs numpy, torch and torchvision alone.
"""
