"""Fourier transforms in pieces: factors and roots, small transforms, passes over vectors."""
