"""One program, two readings: values and time. Knows ``dma``, nothing above it."""
