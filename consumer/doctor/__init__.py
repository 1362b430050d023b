"""Check whether a worker would work. Each check makes real calls on a separate thread, for a limited time.

`examination` defines the order, and `checks` runs the checks. `stream`, `storage` and `credentials` are the checks.
`effective_settings` shows the settings and their sources.
"""
