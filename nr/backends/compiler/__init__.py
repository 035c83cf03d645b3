"""From jaxprs towards machine code. So far: simplification."""
