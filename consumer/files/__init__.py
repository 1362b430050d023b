"""Local files: SQLite databases, output descriptors, and what a disk's errors mean."""
