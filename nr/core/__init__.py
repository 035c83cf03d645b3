"""What everything else stands on: avals, primitives, traces, jaxprs, arrays, dtypes, trees."""
