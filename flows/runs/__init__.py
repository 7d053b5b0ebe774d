"""Flow runs as the store knows them: what runs, whether it is alive, and how to go on with what is not."""
