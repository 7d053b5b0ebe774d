"""The result store: records and arrays, written aside and renamed, safe to read."""
