"""The compiler: from jaxprs to kernels and a plan, for any target. See docs/architecture.md."""
