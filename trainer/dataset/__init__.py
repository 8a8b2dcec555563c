"""Training data: sessions, the split by time, item features, batches and counts."""
