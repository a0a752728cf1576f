//! What a tenant may take, and how that may differ from tenant to tenant. Owns: the numbers and how they overlay each other.
//! Must not know: who counts.

use serde::{Deserialize, Serialize};

/// The greatest number that a limit may be.
pub const GREATEST: u32 = 1_000_000_000;

/// Makes both forms of the limits: all of them, and those that differ.
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $least:literal,)*) => {
        /// The limits of one tenant. `config/default.toml` says what each means and what zero means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub struct TenantLimits {
            $($(#[$doc])* pub $name: u32,)*
        }

        /// What differs for one tenant; what is left out is as for all.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct LimitChanges {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<u32>,)*
        }

        impl TenantLimits {
            /// The limits with these changes.
            pub fn with(self, changes: &LimitChanges) -> Self {
                Self { $($name: changes.$name.unwrap_or(self.$name),)* }
            }
        }

        impl LimitChanges {
            /// Holds each to its range.
            ///
            /// # Errors
            ///
            /// In words: which one lies beyond it.
            pub fn check(&self) -> Result<(), String> {
                $(if let Some(value) = self.$name && !($least..=GREATEST).contains(&value) {
                    return Err(format!(concat!("'", stringify!($name), "' must lie between {} and {}"), $least, GREATEST));
                })*
                Ok(())
            }
        }
    };
}

limits! {
    /// Publishes and operations of one connection, per minute.
    messages_per_minute: 0,
    /// The same of the whole tenant, on all nodes and all ways.
    tenant_messages_per_minute: 0,
    /// The same of one user over HTTP, on one node.
    http_messages_per_minute: 0,
    /// Requests over HTTP of one user, on one node.
    requests_per_minute: 0,
    /// The same of the whole tenant.
    tenant_requests_per_minute: 0,
    /// Signals of one connection, per minute.
    signals_per_minute: 1,
    /// Connections of one user, on all nodes.
    connections_per_user: 0,
    /// Connections of the tenant, on all nodes.
    connections_per_tenant: 1,
    /// Parts of the state that its members may follow, on one node.
    subscriptions_per_room: 1,
    /// API keys that hold.
    keys_per_tenant: 1,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_for_all() {
        let usual: LimitChanges =
            serde_json::from_str(r#"{"messages_per_minute":7,"keys_per_tenant":3}"#).expect("limits");
        let all = TenantLimits {
            messages_per_minute: 100,
            tenant_messages_per_minute: 10_000,
            http_messages_per_minute: 6_000,
            requests_per_minute: 600,
            tenant_requests_per_minute: 6_000,
            signals_per_minute: 6_000,
            connections_per_user: 5,
            connections_per_tenant: 100,
            subscriptions_per_room: 4_096,
            keys_per_tenant: 1_000,
        };
        assert_eq!(all.with(&usual), TenantLimits { messages_per_minute: 7, keys_per_tenant: 3, ..all });
        assert_eq!(all.with(&LimitChanges::default()), all);
    }

    #[test]
    fn each_is_held_to_its_range() {
        let changes = LimitChanges { messages_per_minute: Some(0), ..LimitChanges::default() };
        assert_eq!(changes.check(), Ok(()));
        let changes = LimitChanges { connections_per_tenant: Some(0), ..LimitChanges::default() };
        let refused = changes.check().expect_err("nobody could connect");
        assert!(refused.contains("'connections_per_tenant' must lie between 1"), "{refused}");
        let changes = LimitChanges { requests_per_minute: Some(GREATEST + 1), ..LimitChanges::default() };
        assert!(changes.check().is_err());
    }
}
