from fastapi import APIRouter
from continuum.realtime import broadcast_memory_added

router = APIRouter()

@router.post("/learn")
async def learn(request: LearnRequest, tenant_id: str):
    # Store memory
    result = memory.learn(
        request.user_message,
        request.ai_response
    )

    # Broadcast to other instances
    await broadcast_memory_added(
        tenant_id=tenant_id,
        user_message=request.user_message,
        ai_response=request.ai_response,
        concepts_extracted=result.concepts_extracted
    )

    return result
