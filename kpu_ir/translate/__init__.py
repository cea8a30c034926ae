"""Programs as files that people and other tools read: ``kpu-translate``."""
