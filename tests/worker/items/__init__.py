"""Items in service."""
