"""What a training works on: sessions, their division by time, features, batches and counts."""
