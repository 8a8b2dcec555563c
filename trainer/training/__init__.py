"""Training of a model: from clicks to a release, from scratch, from a champion, or online."""
