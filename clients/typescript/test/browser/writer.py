"""A Python process that edits a text and a graph together with browsers: see together.test.ts.

Usage: writer.py URL TENANT COUNT. Says "here" when it is in the room, "wrote N" after each round; with the end of its standard input
it waits until everything is settled and the text has the version that the last line named, and says what it sees as JSON.
"""

import asyncio
import json
import sys

import continuum


async def main() -> None:
    url, tenant, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # The rounds go on as the test says, line by line.
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with continuum.Client(url, tenant=tenant, instance="python") as client:
        await client.online(60)
        note = client.entity("note", "shared")
        async for seen in note.watch():
            if seen.data is not None:
                break
        body = await note.text("/body")
        say("here")
        for n in range(count):
            await lines.readline()
            await body.refresh()
            place = body.value.find("[", len(body.value) // 2)
            await body.insert(len(body.value) if place < 0 else place, f"[π{n}🐍]")
            await client.entity("node", f"py-{n}").create({"x": n, "y": 1})
            await client.entity("edge", f"py-{n}").create({"from": "root", "to": f"py-{n}"})
            await client.entity("node", "root").update({f"py{n}": n})
            say(f"wrote {n}")
        wanted = int((await lines.readline()).decode())
        await client.flushed(60)
        async for seen in note.watch():
            if seen.version >= wanted and seen.pending == 0:
                break
        graph = {}
        for kind in ("node", "edge"):
            graph[kind] = {seen.key.id: seen.data for seen in await client.entities(kind) if seen.data is not None}
        say(json.dumps({"text": (await note.data() or {}).get("body"), **graph}))


def say(words: str) -> None:
    print(words, flush=True)


asyncio.run(main())
