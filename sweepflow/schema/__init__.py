"""Typed configurations: their fields, and the role of each field in the compiled program."""
