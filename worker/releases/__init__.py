"""The way of a release from its topic into service while the worker goes on serving."""
