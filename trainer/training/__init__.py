"""How a model is trained: from clicks to a release, from scratch, warm, or online."""
