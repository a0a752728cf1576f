from continuum.realtime import broadcast_memory_added

# After storing memory
await broadcast_memory_added(
    tenant_id="default",
    instance_id="claude-123",
    user_message="What is quantum physics?",
    ai_response="Quantum physics is...",
    concepts_extracted=5
)
