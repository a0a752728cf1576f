import asyncio
import websockets
import json

async def connect():
    uri = "ws://localhost:8420/ws/sync?tenant_id=default&instance_id=claude-1"
    async with websockets.connect(uri) as websocket:
        # Receive events
        async for message in websocket:
            event = json.loads(message)
            print(f"Received: {event['event_type']}")
