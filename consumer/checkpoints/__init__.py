"""Show, move and copy the checkpoints of an application, at the request of an operator.

A change is first a `plan.Plan`, made by `reset` or `document`. `owners` checks that no live worker has a lease of it,
and `editor` carries it out. `positions` finds the sequence numbers of a time in the stream.
"""
