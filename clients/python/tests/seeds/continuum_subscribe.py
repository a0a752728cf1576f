from continuum.realtime import subscribe, EventType

@subscribe(EventType.CONCEPT_LEARNED)
async def on_concept_learned(event):
    concept_name = event.data.get("concept_name")
    print(f"New concept learned: {concept_name}")
