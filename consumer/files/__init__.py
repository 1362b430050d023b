"""Local files: SQLite databases, output descriptors, and errors of the file system."""
