import { useState } from 'react';
import { usePuoMemoWebSocket } from 'continuum-client/puo-memo/react';

// Usage in component
function MemoryList() {
  const [memories, setMemories] = useState<Memory[]>([]);
  
  const { isConnected } = usePuoMemoWebSocket({
    token: authToken,
    onMemoryCreated: (data) => {
      setMemories(prev => [data.memory, ...prev]);
    },
    onMemoryUpdated: (data) => {
      setMemories(prev => prev.map(m => 
        m.id === data.memory.id ? data.memory : m
      ));
    },
    onMemoryDeleted: (data) => {
      setMemories(prev => prev.filter(m => m.id !== data.memory_id));
    }
  });
  
  return (
    <div>
      {isConnected && <span>🟢 Real-time updates active</span>}
      {/* Render memories */}
    </div>
  );
}

export default MemoryList;
