"""Training of a compressed model towards the dense one."""
