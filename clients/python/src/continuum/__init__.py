"""Rooms with one ordered, durable history: an asyncio client of Continuum.

```python
import asyncio, continuum

async def main():
    async with continuum.Client("ws://localhost:8420", instance="claude-1") as client:
        op = await client.publish("memory_added", {"user_message": "hello"})
        print(await op.settled())

asyncio.run(main())
```
"""

from .client import Client
from .clock import Clock, SystemClock, VirtualClock
from .errors import Blocked, Closed, ContinuumError, NotOnline, Refused, StorageFailed, TextFailed
from .events import Event, HistoryPage, Subscription
from .handles import Entity, Op, TextChange, TextField
from .interests import View
from .journal import DeadLetter, Settled
from .mirror import Seen
from .options import Options
from .presence import Presence
from .room import Instance, PresenceChange, Signal
from .status import Connection, Status, Sync
from .store import Storage
from .streams import Stream
from .told import Key
from .version import PROTOCOL, __version__

__all__ = [
    "PROTOCOL",
    "Blocked",
    "Client",
    "Clock",
    "Closed",
    "Connection",
    "ContinuumError",
    "DeadLetter",
    "Entity",
    "Event",
    "HistoryPage",
    "Instance",
    "Key",
    "NotOnline",
    "Op",
    "Options",
    "Presence",
    "PresenceChange",
    "Refused",
    "Seen",
    "Settled",
    "Signal",
    "Status",
    "Storage",
    "StorageFailed",
    "Stream",
    "Subscription",
    "Sync",
    "SystemClock",
    "TextChange",
    "TextFailed",
    "TextField",
    "View",
    "VirtualClock",
    "__version__",
]
