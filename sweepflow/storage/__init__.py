"""The result store: records and arrays, written to temporary files and renamed, safe to read."""
