"""Command line and developer tools."""
