import asyncio
import websockets
import json
import time

async def stress_test(num_clients: int, token: str):
    """Stress test WebSocket server with multiple clients"""
    
    async def client(client_id: int):
        url = f"ws://localhost:8000/ws?token={token}"
        
        async with websockets.connect(url) as ws:
            # Subscribe
            await ws.send(json.dumps({
                "type": "subscribe",
                "data": {"channels": ["memories"]}
            }))
            
            # Send messages
            for i in range(10):
                await ws.send(json.dumps({
                    "type": "ping"
                }))
                await asyncio.sleep(1)
            
            print(f"Client {client_id} completed")
    
    # Create concurrent clients
    tasks = [client(i) for i in range(num_clients)]
    await asyncio.gather(*tasks)

# Run stress test
asyncio.run(stress_test(100, "your-token"))
