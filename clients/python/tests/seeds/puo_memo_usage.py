from continuum.puo_memo import PuoMemoWebSocket
import asyncio
import json
import logging
from typing import Optional, Callable, Dict, Any
from datetime import datetime
import uuid

logger = logging.getLogger(__name__)


# Usage example
async def main():
    ws = PuoMemoWebSocket(token="your-auth-token")
    
    # Register handlers
    def on_memory_created(data):
        print(f"New memory: {data['memory']['title']}")
    
    def on_memory_updated(data):
        print(f"Memory updated: {data['memory']['id']}")
    
    ws.on("memory.created", on_memory_created)
    ws.on("memory.updated", on_memory_updated)
    
    # Connect
    await ws.connect()

if __name__ == "__main__":
    asyncio.run(main())
