"""Schema registries: the values and keys that their schemas frame, and the schema of the lists."""
