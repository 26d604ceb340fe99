"""Estimates, intervals and comparisons from results."""
