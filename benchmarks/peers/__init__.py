"""Other consumers of the same stream, each a program that `make bench` measures as a whole process."""
