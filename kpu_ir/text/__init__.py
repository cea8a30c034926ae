"""IR text: reading it with the place of each operation, printing it. Imports ``support``."""
