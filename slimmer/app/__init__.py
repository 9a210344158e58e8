"""What command line, notebook and any other program share: from a reference to a result.

`Session` (session.py) is the way in; `options` is what may be asked of it, `events` what it tells
while it works. Nothing here reads argv, environment or clock: they come as values.
"""
