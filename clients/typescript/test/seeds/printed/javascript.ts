import { PuoMemoWebSocket } from 'continuum-client/puo-memo';

// Usage
const ws = new PuoMemoWebSocket(authToken);

// Handle memory updates
ws.on('memory.created', (data) => {
  console.log('New memory:', data.memory);
  // Update UI
});

ws.on('memory.updated', (data) => {
  console.log('Memory updated:', data.memory);
  // Update UI
});

ws.on('memory.deleted', (data) => {
  console.log('Memory deleted:', data.memory_id);
  // Remove from UI
});

// Connect
ws.connect();
