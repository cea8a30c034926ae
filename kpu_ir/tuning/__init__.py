"""All that is decided by simulating: schedules, fusion, tensors in L3; their cache and workers."""
