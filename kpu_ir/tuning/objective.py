"""What a search is for, and how long it is."""

from typing import Literal

Objective = Literal["cycles", "bytes", "energy", "edp"]
Effort = Literal["ranked", "quick", "full"]
SearchEffort = Literal["none", "ranked", "quick", "full"]
"""How long schedules are looked for; ``none`` takes the default ones, ``ranked`` times a few in a
learned order."""
