"""The interpretation for time."""
