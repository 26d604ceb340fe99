"""From a finished sweep to frames, statistics, figures, tables and one report."""
