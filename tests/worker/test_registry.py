"""A worker with a schema registry at a desk: what is framed is answered, and the registry may be away."""
