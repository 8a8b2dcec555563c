"""Evaluation of a release: replay through the worker's core, metrics, baselines, comparisons, the report."""
