import asyncio

async def connect_with_retry(uri, max_retries=5):
    retry_delay = 1

    for attempt in range(max_retries):
        try:
            async with websockets.connect(uri) as ws:
                # Connected successfully
                await handle_connection(ws)
        except Exception as e:
            print(f"Connection failed (attempt {attempt + 1}): {e}")
            if attempt < max_retries - 1:
                await asyncio.sleep(retry_delay)
                retry_delay = min(retry_delay * 2, 60)  # Exponential backoff
            else:
                raise
