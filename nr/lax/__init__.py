"""First-order operations with JAX's names."""
