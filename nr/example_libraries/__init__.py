"""The two small libraries that JAX's examples use; `nr.nn` and `nr.optim` have more."""
