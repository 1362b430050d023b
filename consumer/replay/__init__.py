"""Read a bounded part of a stream again, beside the workers that read it.

A replay is a worker with an application name derived from its bounds (`bounds`), so it has checkpoints that no other
worker uses. `bounded_stream` ends the stream at the bound, `selection` leaves out rows, and `progress` shows how far it
is.
"""
