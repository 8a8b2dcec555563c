"""Releases: packing, and storage in a folder."""
