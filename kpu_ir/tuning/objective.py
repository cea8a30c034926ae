"""What a search is for, and how long it is."""

from typing import Literal

Objective = Literal["cycles", "bytes", "energy", "edp"]
Effort = Literal["quick", "full"]
SearchEffort = Literal["none", "quick", "full"]
"""How long schedules are looked for; ``none`` takes the default ones."""
