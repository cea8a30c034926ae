"""What everything stands on: errors, files, element types. Imports nothing of ours."""
