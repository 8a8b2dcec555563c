"""Training data: sessions, their division by time, features, batches and counts."""
