"""The version of this package, and that of the protocol that it speaks: the package's first two numbers are of the node's release.

Must not know: anything else; packaging reads this file without importing the rest.
"""

__version__ = "0.1.0"

PROTOCOL = 1
"""What `session_ready` says in `protocol`."""
