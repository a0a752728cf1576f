//! A tenant as a file: its entities, then its log up to one position, as the reader takes it.
//!
//! Owns: that the file is the tenant as of one position. The entities are read first; whatever of them changes meanwhile follows
//! with the log behind the place where reading them began. No more than one page of the log is in memory at a time.

use actix_web::{
    HttpRequest, HttpResponse, error,
    web::{Bytes, Data, Path},
};
use bytes::BytesMut;
use futures_util::stream;
use sha2::{Digest as _, Sha256};

use super::{
    admin::{governs, is_open},
    asker, parameters, problem,
    proof::Proof,
    server::Shared,
};
use crate::{
    actors::room::read_record,
    backbone::{BackboneError, EntityMark, ReadBudget, Stored, Subject},
    model::{EntityKey, Epoch, Position, TenantId, rights::Admin},
    wire::{
        Refusal,
        export::{self, End, Header, Told},
    },
};

/// Records that are read in one go.
const RECORDS: usize = 1_000;

/// `GET /v1/tenants/{tenant}/export`
pub(super) async fn get(shared: Data<Shared>, request: HttpRequest, tenant: Path<String>) -> HttpResponse {
    match begin(&shared, &request, &tenant).await {
        Ok(walk) => HttpResponse::Ok().content_type("application/x-ndjson").streaming(stream::unfold(
            Some(walk),
            async |walk| {
                let mut walk = walk?;
                match walk.more().await {
                    Ok(Some(lines)) => Some((Ok(lines), Some(walk))),
                    Ok(None) => None,
                    Err(why) => {
                        // The answer breaks off, and without its last line the file is known to be cut.
                        tracing::warn!(tenant = %walk.tenant, why, "an export broke off");
                        Some((Err(error::ErrorServiceUnavailable(why)), None))
                    }
                }
            },
        )),
        Err(refusal) => problem::respond(&refusal),
    }
}

async fn begin(shared: &Data<Shared>, request: &HttpRequest, tenant: &str) -> Result<Walk, Refusal> {
    let admin = asker::administrator(shared, request, Admin::Tenant).await?;
    let tenant = parameters::tenant(tenant)?;
    governs(&admin, &tenant)?;
    is_open(shared, &tenant)?;
    // Now it can still be said that the log is away.
    shared.context.backbone.extent(&tenant).await.map_err(|error| problem::log_unavailable(&error))?;
    tracing::info!(%tenant, "a tenant is exported");
    Ok(Walk {
        shared: shared.clone(),
        proof: Proof::of(shared.context.clone(), Some(admin), (tenant.clone(), None)),
        epoch: shared.context.backbone.epoch(&tenant),
        tenant,
        at: Place::Header,
        since: None,
        until: Position::START,
        hash: Sha256::new(),
        end: End::default(),
    })
}

/// How far an export is.
struct Walk {
    shared: Data<Shared>,
    tenant: TenantId,
    proof: Proof,
    epoch: Epoch,
    at: Place,
    /// Every record up to here is reflected in the entities; `None` before the first page.
    since: Option<Position>,
    /// Where the log ended when all entities had been read: the file is the tenant as of here.
    until: Position,
    hash: Sha256,
    end: End,
}

enum Place {
    Header,
    Entities(Option<EntityMark>),
    Log(Position),
    End,
    Over,
}

impl Walk {
    /// Some more lines; `None` behind the last.
    async fn more(&mut self) -> Result<Option<Bytes>, String> {
        let mut out = BytesMut::new();
        while out.is_empty() {
            if matches!(self.at, Place::Over) {
                return Ok(None);
            }
            self.step(&mut out).await.map_err(|error| error.to_string())?;
        }
        self.hash.update(&out);
        Ok(Some(out.freeze()))
    }

    async fn step(&mut self, out: &mut BytesMut) -> Result<(), BackboneError> {
        // What its key or token opened ends with that.
        self.proof.check().map_err(|refusal| BackboneError::Unavailable(refusal.message.into_owned()))?;
        let backbone = &self.shared.context.backbone;
        if backbone.epoch(&self.tenant) != self.epoch || backbone.tenancy(&self.tenant).is_closed {
            return Err(BackboneError::Unavailable("the log was made anew, or the tenant is being erased".into()));
        }
        self.at = match std::mem::replace(&mut self.at, Place::Over) {
            Place::Header => {
                export::put_header(out, &self.header());
                Place::Entities(None)
            }
            Place::Entities(from) => self.entities(from, out).await?,
            Place::Log(after) => self.log(after, out).await?,
            Place::End => {
                self.end.position = self.until.0;
                self.end.sha256 = format!("{:x}", self.hash.clone().finalize());
                export::put_end(out, &self.end);
                Place::Over
            }
            Place::Over => Place::Over,
        };
        Ok(())
    }

    fn header(&self) -> Header {
        Header {
            format: export::FORMAT.into(),
            version: export::VERSION,
            tenant: self.tenant.clone(),
            epoch: self.epoch.to_string(),
            exported_at: self.shared.context.now().to_string(),
        }
    }

    fn budget(&self) -> ReadBudget {
        ReadBudget { records: RECORDS, bytes: self.shared.context.config.rooms.page_bytes }
    }

    async fn entities(&mut self, from: Option<EntityMark>, out: &mut BytesMut) -> Result<Place, BackboneError> {
        let shared = self.shared.clone();
        let page = shared.context.backbone.entities(&self.tenant, from, self.budget()).await?;
        let since = *self.since.get_or_insert(page.as_of);
        // A later one is a change, which comes with the log.
        for (key, stored) in page.entities.iter().filter(|(_, stored)| stored.position <= since) {
            self.entity(key, stored, Told::First, out);
        }
        if let Some(next) = page.next {
            return Ok(Place::Entities(Some(next)));
        }
        self.until = shared.context.backbone.extent(&self.tenant).await?.last;
        Ok(Place::Log(Position::START))
    }

    async fn log(&mut self, after: Position, out: &mut BytesMut) -> Result<Place, BackboneError> {
        let shared = self.shared.clone();
        let page = shared.context.backbone.read(&self.tenant, after, self.budget()).await?;
        let since = self.since.unwrap_or_default();
        if page.trimmed_to > after && page.trimmed_to > since {
            let why = "the log was trimmed beyond the place where the export began; begin again";
            return Err(BackboneError::Unavailable(why.into()));
        }
        let until = self.until;
        for stored in page.records.iter().filter(|stored| stored.position <= until) {
            match &stored.subject {
                Subject::Entity(key) if stored.position > since => self.entity(key, stored, Told::Later, out),
                Subject::Entity(_) => {}
                Subject::Event(_) => self.event(stored, out),
            }
        }
        match page.records.last() {
            Some(last) if page.more && last.position < self.until => Ok(Place::Log(last.position)),
            _ => Ok(Place::End),
        }
    }

    fn entity(&mut self, key: &EntityKey, stored: &Stored, told: Told, out: &mut BytesMut) {
        match asker::read(&self.tenant, key, stored) {
            Ok(entity) => {
                export::put_entity(out, key, &entity, told);
                self.end.entities += 1;
            }
            // Logged where it was read.
            Err(_) => self.end.damaged += 1,
        }
    }

    fn event(&mut self, stored: &Stored, out: &mut BytesMut) {
        match read_record(&self.tenant, Position::START, stored) {
            Ok(_) => {
                export::put_event(out, stored.position, stored.stored_at, &stored.body);
                self.end.events += 1;
            }
            Err(error) => {
                tracing::error!(tenant = %self.tenant, position = %stored.position, %error, "left out of an export");
                self.end.damaged += 1;
            }
        }
    }
}
