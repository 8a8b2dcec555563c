"""The model: the network, its losses and optimizer, and the blend. The only home of TensorFlow."""
