"""Schema registries: the values and keys that their schemas frame, and the schema of the lists.

The libraries behind it (fastavro, protobuf, urllib3) take 13 MB and a quarter of a second. They are loaded
where they are first needed: most workers have no registry.
"""
