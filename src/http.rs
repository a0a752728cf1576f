//! The HTTP side and the WebSocket upgrade.
