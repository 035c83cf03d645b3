"""Sorting as native routines: networks on vectors, merges, rows, long rows, the k largest."""
