"""Continuous training: periodic retraining runs, the gate, and leader election among trainers."""
