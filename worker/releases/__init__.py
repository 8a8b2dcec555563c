"""The path of a release from its topic into service, without interrupting the worker."""
