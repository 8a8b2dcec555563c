"""Evaluation of releases: replay through the worker's core, metrics, baselines, comparison and report."""
