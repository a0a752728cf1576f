from continuum.realtime import get_sync_manager

manager = get_sync_manager()

# Get connection stats
stats = manager.get_stats()
print(f"Connected instances: {stats['total_connections']}")

# Get instances for a tenant
instances = manager.get_tenant_instances("default")
print(f"Tenant instances: {instances}")
