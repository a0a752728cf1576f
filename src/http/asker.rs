//! Who asks, and for which entity: the parts that requests about entities have in common.

use std::sync::Arc;

use actix_web::HttpRequest;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::{
    door,
    parameters::{self, Parameters},
    problem,
    proof::Proof,
    server::Shared,
    socket::Peer,
};
use crate::{
    actors::{authority, rules, tenants::TooFast},
    auth::{
        Bearer, Grant,
        hook::{Ruling, Who},
    },
    backbone::{self, Stored, Subject},
    model::{
        EntityKey, InstanceId, Position, TenantId,
        entity::{Author, Entity, Owner},
        record::Viewer,
        rights::{Admin, Entities, Rights},
    },
    wire::{Code, Need, Refusal, check_own, entity as record},
};

/// Who asks for something of a tenant, let in. With `auth.mode = none` it is who it says it is, and who says nothing is nobody,
/// and owns nothing; else it is who its token says.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    tenant: TenantId,
    instance: Option<InstanceId>,
    user: Option<Arc<str>>,
    name: Option<Arc<str>>,
    rights: Arc<Rights>,
    bearer: Option<Arc<Bearer>>,
}

impl Asker {
    /// Lets somebody in to the tenant in `/v1/tenants/{tenant}/…`.
    ///
    /// # Errors
    ///
    /// No token that is good there, or a name that is none.
    pub(super) async fn enter(shared: &Shared, request: &HttpRequest) -> Result<Self, Refusal> {
        let tenant = parameters::tenant(&part(request, 3, Code::InvalidTenant)?)?;
        Self::enter_into(shared, request, Some(tenant)).await
    }

    /// Lets somebody in to a tenant; `None`: its token's.
    ///
    /// # Errors
    ///
    /// As [`Asker::enter`].
    pub(super) async fn enter_into(
        shared: &Shared,
        request: &HttpRequest,
        tenant: Option<TenantId>,
    ) -> Result<Self, Refusal> {
        let parameters = Parameters::read(request.query_string());
        let named = |name: &str| parameters::named(&parameters, name);
        let instance = match parameters.get("instance_id") {
            None => None,
            Some(text) => Some(text.parse().map_err(|error| Refusal::of_name(Code::InvalidInstance, &error))?),
        };
        let (user, name) = (named("user_id")?, named("user_name")?);
        if !shared.context.authority.asks() {
            let tenant = tenant.map_or_else(|| parameters::tenant(parameters::DEFAULT_TENANT), Ok)?;
            let asker = Self { tenant, instance, user, name, rights: Arc::new(Rights::all()), bearer: None };
            return asker.admitted(shared, request);
        }
        let token = door::token_in(request.headers(), &parameters)?;
        let bearer = door::bearer(&shared.context, token.as_deref()).await?;
        let identity = &bearer.identity;
        let tenant = tenant.unwrap_or_else(|| identity.tenant.clone());
        let instance = bearer.enter(&tenant, instance, user.as_deref()).map_err(door::mismatch)?;
        let holds = shared.context.authority.holds(&bearer, (Some(&tenant), instance.as_ref()), shared.context.now());
        holds.map_err(|error| authority::refusal(&error))?;
        let user = bearer.user_in(&tenant).cloned();
        let (name, rights) = (identity.name.clone(), identity.rights.clone());
        Self { tenant, instance, user, name, rights, bearer: Some(bearer) }.admitted(shared, request)
    }

    /// It is known now who asks: its request counts.
    fn admitted(self, shared: &Shared, request: &HttpRequest) -> Result<Self, Refusal> {
        count_request(shared, request, &self.tenant, &self.payer())?;
        Ok(self)
    }

    /// Whose requests and messages are counted together.
    fn payer(&self) -> String {
        payer(self.user.as_deref(), self.instance.as_ref())
    }

    /// Takes messages that it sends from what it and its tenant may send.
    ///
    /// # Errors
    ///
    /// One of them has none left.
    pub(super) fn takes_messages(&self, shared: &Shared, count: usize) -> Result<(), Refusal> {
        if count == 0 {
            return Ok(());
        }
        let (now, count) = (shared.context.uptime(), u32::try_from(count).unwrap_or(u32::MAX));
        let tenant = shared.context.tenants.of(&self.tenant, now);
        tenant.take_http_messages(&self.payer(), count, now).map_err(|over| too_fast(shared, over))
    }

    /// What it shows for as long as its request lasts.
    pub(super) fn proof(&self, shared: &Shared) -> Proof {
        let place = (self.tenant.clone(), self.instance.clone());
        Proof::of(shared.context.clone(), self.bearer.clone(), place)
    }

    /// Whether it has proven who it is.
    pub(super) fn is_proven(&self) -> bool {
        self.bearer.is_some()
    }

    /// Whose room it was let in to.
    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// What it may change, and where.
    pub(super) fn may_change(&self) -> &Entities {
        &self.rights.change
    }

    /// For whom it acts.
    pub(super) fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// What it may see.
    pub(super) fn viewer(&self) -> Viewer {
        let owner = match (&self.user, &self.instance) {
            (Some(user), _) => Some(Owner::User(user.clone())),
            (None, Some(instance)) => Some(Owner::Instance(instance.clone())),
            (None, None) => None,
        };
        let is_own = self.bearer.as_ref().is_none_or(|bearer| bearer.is_of(&self.tenant));
        Viewer::new(owner.filter(|_| is_own), self.rights.clone())
    }

    /// Whether it may know of an entity.
    pub(super) fn sees(&self, key: &EntityKey, entity: &Entity) -> bool {
        self.viewer().sees(key, &entity.audience(), || entity.place(key))
    }

    /// What it may do as an instance that it names in the body of its request.
    ///
    /// # Errors
    ///
    /// It may not be this instance.
    pub(super) fn grant(&self, shared: &Shared, instance: InstanceId) -> Result<Grant, Refusal> {
        let Some(bearer) = &self.bearer else { return Ok(Grant::unauthenticated(self.tenant.clone(), instance)) };
        let grant = bearer.grant(self.tenant.clone(), instance, None).map_err(door::mismatch)?;
        // The bearer holds, but this instance of it may have been called back.
        let holds = shared.context.authority.still_holds(&grant, shared.context.now());
        holds.map_err(|error| authority::refusal(&error))?;
        Ok(grant)
    }

    /// Who writes. Whoever names no instance is one of its own, that of this request: its writes are nobody else's, so they
    /// clash like anybody's. `request` holds all that makes it the same request when it is repeated.
    ///
    /// # Errors
    ///
    /// It may not be that one.
    pub(super) fn author(&self, request: Option<&[&str]>) -> Result<Author, Refusal> {
        const NAMESPACE: Uuid = Uuid::from_u128(0x6d3c_54f0_9b1e_4f6a_8a57_0e9d_c2b1_73aa);
        let instance = self.instance.clone().unwrap_or_else(|| {
            let id = request.map_or_else(Uuid::new_v4, |parts| {
                // With their lengths, so that no two requests read alike.
                let user = self.user.as_deref().unwrap_or_default();
                let parts = parts.iter().chain([&user]);
                let text: String = parts.map(|part| format!("{}:{part}:", part.len())).collect();
                Uuid::new_v5(&NAMESPACE, text.as_bytes())
            });
            id.to_string().parse().expect("a UUID is an instance's name")
        });
        if let Some(bearer) = &self.bearer {
            // Where a token says which instances it may be, one has to be named.
            bearer.instance(Some(instance.clone())).map_err(door::mismatch)?;
        }
        Ok(Author { instance, user: self.user.clone(), name: self.name.clone() })
    }

    /// Whether it was granted what it needs to do something. The owner's rules are asked beside that.
    ///
    /// # Errors
    ///
    /// Names the grant that is missing.
    pub(super) fn is_granted(&self, need: Need<'_>) -> Result<(), Refusal> {
        need.check(&self.rights)
    }

    /// Whether an entity is not another's own.
    ///
    /// # Errors
    ///
    /// Names whose it is.
    pub(super) fn is_own(&self, key: &EntityKey, author: &Author) -> Result<(), Refusal> {
        check_own(key, author, &self.rights)
    }

    /// Who it is to the owner's rules, as an instance that it may be.
    pub(super) fn who(&self, instance: Option<InstanceId>) -> Who {
        Who { tenant: self.tenant.clone(), user: self.user.clone(), instance }
    }

    /// Whether it was granted that, and the owner's rules admit it.
    ///
    /// # Errors
    ///
    /// Names the grant that is missing, or what the rules say.
    pub(super) async fn needs(&self, shared: &Shared, need: Need<'_>) -> Result<(), Refusal> {
        self.is_granted(need)?;
        let who = self.who(self.instance.clone());
        Rules::ask(shared, self, [(&who, need)]).await?.check(&who, need)
    }

    /// Whether what it has shown still holds, as an instance that it may be.
    fn still_holds(&self, shared: &Shared, instance: Option<&InstanceId>) -> Result<(), Refusal> {
        let Some(bearer) = &self.bearer else { return Ok(()) };
        match shared.context.authority.holds(bearer, (Some(&self.tenant), instance), shared.context.now()) {
            Err(error) if !error.passes() => Err(authority::refusal(&error)),
            _ => Ok(()),
        }
    }
}

/// What the owner's rules say of what a request needs; `None`: there are none.
pub(super) struct Rules(Option<Ruling>);

impl Rules {
    /// Asks about needs of somebody to whom they are granted.
    ///
    /// # Errors
    ///
    /// What it has shown holds no more when the answer comes.
    pub(super) async fn ask<'a>(
        shared: &Shared,
        asker: &Asker,
        needs: impl IntoIterator<Item = (&'a Who, Need<'a>)>,
    ) -> Result<Self, Refusal> {
        let Some(hook) = shared.context.authority.hook() else { return Ok(Self(None)) };
        let needs: Vec<_> = needs.into_iter().collect();
        let ruling = hook.clone().ask(rules::questions(needs.iter().copied())).await;
        needs.iter().try_for_each(|(who, _)| asker.still_holds(shared, who.instance.as_ref()))?;
        Ok(Self(Some(ruling)))
    }

    /// Whether one of them is admitted.
    ///
    /// # Errors
    ///
    /// They refuse it, or cannot be asked.
    pub(super) fn check(&self, who: &Who, need: Need<'_>) -> Result<(), Refusal> {
        self.0.as_ref().map_or(Ok(()), |ruling| rules::check(ruling, who, need))
    }
}

/// Whoever shows a token that holds.
///
/// # Errors
///
/// There is none; without tokens there is nobody to be.
pub(super) async fn bearer(shared: &Shared, request: &HttpRequest) -> Result<Arc<Bearer>, Refusal> {
    if !shared.context.authority.asks() {
        let message = "with auth.mode = \"none\" there is nothing to administer; set auth.mode = \"token\"";
        return Err(Refusal::new(Code::SwitchedOff, message));
    }
    let token = door::token_in(request.headers(), &Parameters::read(request.query_string()))?;
    let bearer = door::bearer(&shared.context, token.as_deref()).await?;
    let identity = &bearer.identity;
    count_request(shared, request, &identity.tenant, &payer(identity.user.as_deref(), None))?;
    Ok(bearer)
}

/// Counts a request of somebody who has said who it is.
fn count_request(shared: &Shared, request: &HttpRequest, tenant: &TenantId, payer: &str) -> Result<(), Refusal> {
    request.conn_data::<Peer>().iter().for_each(|peer| peer.is_known());
    let now = shared.context.uptime();
    shared.context.tenants.of(tenant, now).take_request(payer, now).map_err(|over| too_fast(shared, over))
}

/// Users and instances of the same name are not the same.
fn payer(user: Option<&str>, instance: Option<&InstanceId>) -> String {
    match (user, instance) {
        (Some(user), _) => format!("u{user}"),
        (None, Some(instance)) => format!("i{instance}"),
        (None, None) => String::new(),
    }
}

fn too_fast(shared: &Shared, (over, wait): TooFast) -> Refusal {
    shared.context.metrics.count_over(over.key());
    let message = format!("too much for one minute (limits.{}); nothing was done", over.key());
    Refusal::new(Code::RateLimited, message).after(wait)
}

/// Lets in whoever may administer so much.
///
/// # Errors
///
/// No token that is good for that; without tokens nobody administers anything.
pub(super) async fn administrator(
    shared: &Shared,
    request: &HttpRequest,
    least: Admin,
) -> Result<Arc<Bearer>, Refusal> {
    let bearer = bearer(shared, request).await?;
    Need::Admin(least).check(&bearer.identity.rights)?;
    Ok(bearer)
}

/// The part of a path between two slashes, decoded. What a router hands out has lost what is not UTF-8; here that is
/// refused, as two names must not become one.
pub(super) fn part(request: &HttpRequest, index: usize, code: Code) -> Result<String, Refusal> {
    let raw = request.uri().path().split('/').nth(index).unwrap_or_default();
    let text = percent_decode_str(raw).decode_utf8();
    text.map(String::from).map_err(|_| Refusal::new(code, "a part of the path is not UTF-8, percent-encoded"))
}

/// The entity in `/v1/tenants/{tenant}/entities/{type}/{id}…`.
pub(super) fn address(request: &HttpRequest) -> Result<EntityKey, Refusal> {
    let (kind, id) = (part(request, 5, Code::InvalidEntity)?, part(request, 6, Code::InvalidEntity)?);
    EntityKey::new(&kind, &id).map_err(|error| Refusal::of_name(Code::InvalidEntity, &error))
}

/// The conflict in `…/conflicts/{conflict_id}`.
pub(super) fn conflict(request: &HttpRequest) -> Result<Uuid, Refusal> {
    let text = part(request, 8, Code::InvalidParameter)?;
    Uuid::try_parse(&text).map_err(|_| Refusal::new(Code::InvalidParameter, "a conflict's id is a UUID"))
}

/// What is said of what is not there, and of what the asker may not know of.
pub(super) fn nothing() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such entity")
}

/// An entity as it stands now, with its last record, if the asker may know of it; perhaps a tombstone.
pub(super) async fn head(shared: &Shared, key: &EntityKey, asker: &Asker) -> Result<(Entity, Stored), Refusal> {
    let tenant = asker.tenant();
    let stored = shared.context.backbone.entity(tenant, key).await.map_err(|error| problem::log_unavailable(&error))?;
    let stored = stored.ok_or_else(nothing)?;
    let entity = read(tenant, key, &stored)?;
    if !asker.sees(key, &entity) {
        return Err(nothing());
    }
    asker.needs(shared, Need::Read(key)).await?;
    Ok((entity, stored))
}

/// What an entity's record holds.
pub(super) fn read(tenant: &TenantId, key: &EntityKey, stored: &Stored) -> Result<Entity, Refusal> {
    record::read(tenant, key, stored.position, &stored.body).map_err(|error| damaged(tenant, stored.position, &error))
}

/// A record that cannot be read: the cause goes to the node's own log under an id.
pub(super) fn damaged(tenant: &TenantId, position: Position, error: &dyn std::fmt::Display) -> Refusal {
    let error_id = Uuid::new_v4();
    tracing::error!(%error_id, %tenant, %position, %error, "an entity's record is damaged");
    let mut refusal = Refusal::new(Code::Internal, "the entity's record cannot be read");
    refusal.error_id = Some(error_id);
    refusal
}

/// An entity's record at a version, if the log still holds it.
pub(super) async fn record_at(
    shared: &Shared,
    tenant: &TenantId,
    key: &EntityKey,
    version: Position,
) -> Result<Option<Stored>, Refusal> {
    let found = backbone::record_at(shared.context.backbone.as_ref(), tenant, version).await;
    let found = found.map_err(|error| problem::log_unavailable(&error))?;
    Ok(found.filter(|stored| matches!(&stored.subject, Subject::Entity(found) if found == key)))
}
