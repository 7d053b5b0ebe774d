"""Flow runs as the store knows them: which runs exist, which are alive, and how to resume the others."""
