"""The life of a partition: assigned, loaded, replayed, served, flushed, revoked."""
