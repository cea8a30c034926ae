"""One altitude in, the same altitude out."""
