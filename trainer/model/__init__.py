"""The model: the network, its losses and optimizer, and the blend. TensorFlow is imported only here."""
