"""The report on a survey's data: ``python -m analysis.survey``."""
