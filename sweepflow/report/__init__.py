"""Tables and pictures of what a sweep found: files, a terminal table, one self-contained page."""
