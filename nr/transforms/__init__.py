"""Interpretations of programs (ad, batching) and what is built on them: jit, loops, branches ..."""
