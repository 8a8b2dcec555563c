"""Schema registries: reading framed values and keys, and the output schema of recommendations.

The libraries (fastavro, protobuf, urllib3) take 13 MB and a quarter of a second to import. They are imported
on first use, because most workers have no registry.
"""
