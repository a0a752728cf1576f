class PuoMemoWebSocket {
  private ws: WebSocket | null = null;
  private reconnectInterval: number = 5000;
  private reconnectTimer: NodeJS.Timeout | null = null;
  private messageHandlers: Map<string, Function[]> = new Map();
  
  constructor(
    private token: string,
    private url: string = 'wss://api.puomemo.com/ws'
  ) {}
  
  connect(): void {
    const wsUrl = `${this.url}?token=${encodeURIComponent(this.token)}`;
    this.ws = new WebSocket(wsUrl);
    
    this.ws.onopen = () => {
      console.log('WebSocket connected');
      this.clearReconnectTimer();
      
      // Subscribe to channels
      this.send('subscribe', {
        channels: ['memories', 'tenant.updates']
      });
    };
    
    this.ws.onmessage = (event) => {
      try {
        const message = JSON.parse(event.data);
        this.handleMessage(message);
      } catch (error) {
        console.error('Failed to parse message:', error);
      }
    };
    
    this.ws.onerror = (error) => {
      console.error('WebSocket error:', error);
    };
    
    this.ws.onclose = (event) => {
      console.log('WebSocket disconnected:', event.code);
      this.scheduleReconnect();
    };
  }
  
  disconnect(): void {
    this.clearReconnectTimer();
    if (this.ws) {
      this.ws.close();
      this.ws = null;
    }
  }
  
  send(type: string, data?: any): void {
    if (!this.ws || this.ws.readyState !== WebSocket.OPEN) {
      console.warn('WebSocket not connected');
      return;
    }
    
    const message = {
      id: this.generateId(),
      type,
      timestamp: new Date().toISOString(),
      data
    };
    
    this.ws.send(JSON.stringify(message));
  }
  
  on(event: string, handler: Function): void {
    if (!this.messageHandlers.has(event)) {
      this.messageHandlers.set(event, []);
    }
    this.messageHandlers.get(event)!.push(handler);
  }
  
  off(event: string, handler: Function): void {
    const handlers = this.messageHandlers.get(event);
    if (handlers) {
      const index = handlers.indexOf(handler);
      if (index > -1) {
        handlers.splice(index, 1);
      }
    }
  }
  
  private handleMessage(message: any): void {
    const handlers = this.messageHandlers.get(message.type);
    if (handlers) {
      handlers.forEach(handler => {
        try {
          handler(message.data);
        } catch (error) {
          console.error('Message handler error:', error);
        }
      });
    }
  }
  
  private scheduleReconnect(): void {
    this.clearReconnectTimer();
    this.reconnectTimer = setTimeout(() => {
      console.log('Attempting to reconnect...');
      this.connect();
    }, this.reconnectInterval);
  }
  
  private clearReconnectTimer(): void {
    if (this.reconnectTimer) {
      clearTimeout(this.reconnectTimer);
      this.reconnectTimer = null;
    }
  }
  
  private generateId(): string {
    return Math.random().toString(36).substr(2, 9);
  }
}

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
