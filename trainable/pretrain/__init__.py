"""Pre-training of the small Vision Transformer that ships with the package."""
