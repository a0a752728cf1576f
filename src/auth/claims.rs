//! What a token or an API key says of its holder: the one place where that JSON becomes a type.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TokenError;
use crate::model::{
    IdError, InstanceId, TenantId, glob,
    rights::{self, Admin, Entities, EntityRule, Patterns, Rights},
};

/// Greatest length of a user's id or name, in bytes.
pub const NAME_BYTES: usize = 128;

/// Who somebody is and what it may do, as written in API keys and, by their claims' names, in tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Whose room.
    pub tenant: String,
    /// For whom it acts; nobody: for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which instances it may be: a name or a pattern; left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What it may do; left out: what its issuer gives to all, an API key everything but administration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantClaim>,
}

/// What somebody may do. What is left out is not granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantClaim {
    /// Types of events and signals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    /// Types of events and signals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    /// Entities: `type` or `type:id`, `*` stands for any run of characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
    /// Entities, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub change: Vec<String>,
    /// What it may administer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
}

/// A [`Holder`], checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose room.
    pub tenant: TenantId,
    /// For whom it acts.
    pub user: Option<Arc<str>>,
    /// The user's name for people.
    pub name: Option<Arc<str>>,
    /// Which instances it may be.
    pub instances: Instances,
    /// What it may do.
    pub rights: Arc<Rights>,
}

/// Which instances a holder may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instances {
    /// This one.
    One(InstanceId),
    /// Any that the pattern admits.
    Any(Patterns),
}

impl Identity {
    /// As it is written, with everything said.
    pub fn holder(&self) -> Holder {
        let Rights { publish, subscribe, read, change, admin } = &*self.rights;
        Holder {
            tenant: self.tenant.to_string(),
            user: self.user.as_deref().map(str::to_owned),
            name: self.name.as_deref().map(str::to_owned),
            instance: match &self.instances {
                Instances::One(instance) => Some(instance.to_string()),
                // A pattern of none is not made: there is one, or any.
                Instances::Any(pattern) => pattern.list().into_iter().next(),
            },
            grant: Some(GrantClaim {
                publish: publish.list(),
                subscribe: subscribe.list(),
                read: read.list(),
                change: change.list(),
                admin: Some(*admin).filter(|admin| *admin != Admin::Nothing),
            }),
        }
    }
}

impl Holder {
    /// Checks it; `otherwise` is what it may do if it does not say.
    ///
    /// # Errors
    ///
    /// Names the claim that is wrong.
    pub fn check(self, otherwise: &Arc<Rights>) -> Result<Identity, TokenError> {
        let tenant = self.tenant.parse().map_err(|error: IdError| TokenError::claim("tenant", error.to_string()))?;
        self.check_of(tenant, otherwise)
    }

    /// The same for what the node itself has written.
    pub(super) fn check_stored(self, otherwise: &Arc<Rights>) -> Result<Identity, TokenError> {
        let tenant = TenantId::from_stored(&self.tenant);
        self.check_of(tenant.map_err(|error| TokenError::claim("tenant", error.to_string()))?, otherwise)
    }

    fn check_of(self, tenant: TenantId, otherwise: &Arc<Rights>) -> Result<Identity, TokenError> {
        let rights = match &self.grant {
            None => otherwise.clone(),
            Some(grant) => Arc::new(grant.check()?),
        };
        Ok(Identity {
            tenant,
            user: text("user", self.user)?,
            name: text("name", self.name)?,
            instances: instances(self.instance)?,
            rights,
        })
    }
}

fn text(claim: &str, text: Option<String>) -> Result<Option<Arc<str>>, TokenError> {
    match text {
        Some(text) if text.is_empty() || text.len() > NAME_BYTES || text.chars().any(char::is_control) => {
            Err(TokenError::claim(claim, format!("must have 1 to {NAME_BYTES} bytes and no control characters")))
        }
        text => Ok(text.map(Arc::from)),
    }
}

fn instances(pattern: Option<String>) -> Result<Instances, TokenError> {
    match pattern {
        None => Ok(Instances::Any(Patterns::all())),
        Some(pattern) if pattern.contains('*') => Ok(Instances::Any(patterns("instance", &[pattern])?)),
        Some(name) => match name.parse() {
            Ok(instance) => Ok(Instances::One(instance)),
            Err(error) => Err(TokenError::claim("instance", IdError::to_string(&error))),
        },
    }
}

fn patterns(claim: &str, patterns: &[String]) -> Result<Patterns, TokenError> {
    bounded(claim, patterns, false)?;
    Ok(Patterns::of(patterns.iter().cloned()))
}

fn bounded(claim: &str, patterns: &[String], is_of_entities: bool) -> Result<(), TokenError> {
    let fits = |pattern: &String| {
        // An entity's type and its id may have one each.
        let mut parts = pattern.splitn(if is_of_entities { 2 } else { 1 }, ':');
        !pattern.is_empty() && pattern.len() <= rights::LONGEST && parts.all(glob::has_one_star)
    };
    if patterns.len() > rights::MOST || !patterns.iter().all(fits) {
        let (most, longest) = (rights::MOST, rights::LONGEST);
        let problem = format!("may hold {most} patterns of 1 to {longest} bytes, each with at most one '*' in a name");
        return Err(TokenError::claim(claim, problem));
    }
    Ok(())
}

fn entities(claim: &str, rules: &[String]) -> Result<Entities, TokenError> {
    bounded(claim, rules, true)?;
    let (mut named, mut regions) = (Vec::new(), Vec::new());
    for rule in rules {
        // With a comma in it: entities of a type called `region` are named by what has none.
        match rule.strip_prefix("region:").filter(|rest| rest.contains(',')) {
            Some(rest) => {
                let rectangle = rest.parse();
                regions.push(
                    rectangle.map_err(|error: crate::model::place::NoRectangle| {
                        TokenError::claim(claim, error.to_string())
                    })?,
                );
            }
            None => named.push(rule),
        }
    }
    // An entity's type holds no colon, its id may.
    let rule = |rule: &String| match rule.split_once(':') {
        Some((kind, id)) => EntityRule { kind: kind.into(), id: id.into() },
        None => EntityRule { kind: rule.as_str().into(), id: "*".into() },
    };
    Ok(Entities::of(named.into_iter().map(rule)).and_in(regions))
}

impl GrantClaim {
    /// Checks it.
    ///
    /// # Errors
    ///
    /// Names the list that is wrong.
    pub fn check(&self) -> Result<Rights, TokenError> {
        Ok(Rights {
            publish: patterns("grant.publish", &self.publish)?,
            subscribe: patterns("grant.subscribe", &self.subscribe)?,
            read: entities("grant.read", &self.read)?,
            change: entities("grant.change", &self.change)?,
            admin: self.admin.unwrap_or(Admin::Nothing),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(json: serde_json::Value) -> Result<Identity, TokenError> {
        let holder: Holder = serde_json::from_value(json).expect("a holder");
        holder.check(&Arc::new(Rights::all()))
    }

    #[test]
    fn what_a_grant_leaves_out_is_not_granted() {
        let bare = holder(serde_json::json!({"tenant": "acme"})).expect("an identity");
        assert!(bare.rights.publish.is_all());
        let one = holder(serde_json::json!({"tenant": "acme", "grant": {"publish": ["memory.*"]}}));
        let rights = one.expect("an identity").rights;
        assert!(rights.publish.admits("memory.created") && !rights.publish.admits("node.create"));
        assert!(!rights.subscribe.admits("memory.created"));
        assert!(!rights.read.may_admit(&crate::model::EntityKey::new("memory", "m").expect("a key")));
        assert_eq!(rights.admin, Admin::Nothing);
    }

    #[test]
    fn an_identity_is_written_as_what_makes_it_again() {
        for json in [
            serde_json::json!({"tenant": "acme"}),
            serde_json::json!({"tenant": "acme", "user": "ada", "name": "Ada", "instance": "a", "grant": {
                "publish": ["memory.*"], "read": ["node", "memory:m-*", "*-draft:*-1", "region:0,-1.5,10,1e300"], "admin": "tenant"
            }}),
            serde_json::json!({"tenant": "acme", "instance": "a-*", "grant": {"subscribe": ["*"], "change": ["*", "x"]}}),
        ] {
            let identity = holder(json).expect("an identity");
            assert_eq!(identity.holder().check(&Arc::new(Rights::all())).as_ref(), Ok(&identity));
        }
    }

    #[test]
    fn an_instance_is_a_name_or_a_pattern() {
        let of = |instance: &str| holder(serde_json::json!({"tenant": "acme", "instance": instance}));
        let one = of("agent-1").expect("an identity").instances;
        assert_eq!(one, Instances::One("agent-1".parse().expect("an instance")));
        let Ok(Identity { instances: Instances::Any(any), .. }) = of("agent-*") else { panic!("a pattern") };
        assert!(any.admits("agent-7") && !any.admits("bot"));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_claim() {
        for (json, claim) in [
            (serde_json::json!({"tenant": "a.b"}), "tenant"),
            (serde_json::json!({"tenant": ""}), "tenant"),
            (serde_json::json!({"tenant": "acme", "user": "a\nb"}), "user"),
            (serde_json::json!({"tenant": "acme", "instance": ""}), "instance"),
            (serde_json::json!({"tenant": "acme", "grant": {"read": vec!["a"; 65]}}), "grant.read"),
            (serde_json::json!({"tenant": "acme", "grant": {"publish": ["*a*"]}}), "grant.publish"),
            (serde_json::json!({"tenant": "acme", "grant": {"read": ["a:*b*"]}}), "grant.read"),
            (serde_json::json!({"tenant": "acme", "grant": {"read": ["region:0,0,1"]}}), "grant.read"),
            (serde_json::json!({"tenant": "acme", "grant": {"change": ["region:5,0,1,1"]}}), "grant.change"),
        ] {
            match holder(json) {
                Err(TokenError::Claim { claim: named, .. }) => assert_eq!(named, claim),
                other => panic!("{claim}: {other:?}"),
            }
        }
    }
}
