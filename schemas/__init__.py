"""The shapes of the events that are read and of the rows and dead letters that are written. Imports no `consumer`."""
