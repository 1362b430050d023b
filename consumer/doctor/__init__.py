"""Examines whether a worker would work: each question is asked for real, on a thread, and for a bounded time.

`examination` is the order of questions; `questions` asks them; `stream`, `places` and `access` are what is asked;
`values` are the settings in force and where each comes from.
"""
