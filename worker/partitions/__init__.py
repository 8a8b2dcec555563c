"""The life cycle of a partition: assigned, loaded, replayed, served, flushed, revoked."""
