"""One program, two interpretations: values and time. Knows ``dma``, nothing above it."""
