"""How good a release is: replay through the worker's core, metrics, baselines, comparisons, the report."""
