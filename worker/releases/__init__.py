"""How a release gets from its topic into service while the worker goes on serving."""
