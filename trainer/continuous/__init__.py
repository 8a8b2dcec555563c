"""Continuous training: retraining runs, the gate before a release, one leader of several trainers."""
