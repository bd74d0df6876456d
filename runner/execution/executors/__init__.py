"""Who decides which run goes next, and where."""
