"""Typed configurations: what can be asked for, and what of it decides the compiled program."""
