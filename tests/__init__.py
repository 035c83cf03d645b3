"""Tests of nr."""
