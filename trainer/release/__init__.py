"""A release: how it is packed, and how a folder holds it."""
