"""Training: from clicks to a release, starting from scratch or from a champion, or online."""
