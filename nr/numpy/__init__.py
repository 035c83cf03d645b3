"""NumPy names over nr arrays (JAX's jax.numpy and the Python array API standard)."""
