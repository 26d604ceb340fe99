"""The mock survey beside real galaxies: ``python -m analysis.mock_vs_real``."""
