"""What a run tells: figures from counted events, as data, as one screen, as a page, as a trace."""
