"""Plots: data and axes in, the axes out; no files."""
