//! A tenant that comes as a file: kept until its end has come, for only the end says whether it is whole.
//!
//! Owns: how much is kept, of whom, and for how long, so that a slow file keeps nobody else's out. What becomes of it is
//! `actors/import.rs`.

use std::{
    collections::HashSet,
    fs::File,
    io::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::CONTENT_LENGTH,
    rt::task::spawn_blocking,
    web::{Data, Path, Payload},
};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::{
    admin::{governs, is_open},
    asker, parameters, problem,
    proof::Proof,
    server::Shared,
};
use crate::{
    actors::import,
    model::{TenantId, rights::Admin},
    wire::{Code, Refusal},
};

/// What is gathered before it is written.
const GATHER: usize = 256 * 1024;
/// Files that a node keeps at a time, each of another tenant.
const FILES: usize = 4;
/// What has to come in a second, in bytes, once `server.body_timeout` is over: a megabit.
const LEAST_RATE: u64 = 128 * 1024;
/// When to come back.
const LATER: Duration = Duration::from_secs(5);

/// The imports of a node.
#[derive(Debug, Default)]
pub struct Imports {
    /// Whose files are kept, or still come.
    kept: Mutex<HashSet<TenantId>>,
    /// Held by the one whose file has come and is read: they go one after the other, in the order in which they came.
    turn: tokio::sync::Mutex<()>,
}

/// A file's place among those that are kept, given back when it is dropped.
struct Place<'a> {
    kept: &'a Mutex<HashSet<TenantId>>,
    tenant: TenantId,
}

impl Imports {
    fn admit(&self, tenant: &TenantId) -> Result<Place<'_>, Refusal> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= FILES && !kept.contains(tenant) {
            let message = format!("this node takes {FILES} imports at a time; try again when one of them is over");
            return Err(Refusal::new(Code::Busy, message).after(LATER));
        }
        if !kept.insert(tenant.clone()) {
            let message = "another import of this tenant is under way; try again when that is over";
            return Err(Refusal::new(Code::Busy, message).after(LATER));
        }
        Ok(Place { kept: &self.kept, tenant: tenant.clone() })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.tenant);
    }
}

/// `POST /v1/tenants/{tenant}/import`
pub(super) async fn post(
    shared: Data<Shared>,
    request: HttpRequest,
    tenant: Path<String>,
    payload: Payload,
) -> HttpResponse {
    match import(&shared, &request, &tenant, payload).await {
        Ok(imported) => HttpResponse::Ok().json(imported),
        Err(refusal) => problem::respond(&refusal),
    }
}

async fn import(
    shared: &Shared,
    request: &HttpRequest,
    tenant: &str,
    payload: Payload,
) -> Result<import::Imported, Refusal> {
    let admin = asker::administrator(shared, request, Admin::Tenant).await?;
    let tenant = parameters::tenant(tenant)?;
    governs(&admin, &tenant)?;
    is_open(shared, &tenant)?;
    let _place = shared.imports.admit(&tenant)?;
    let _counted = shared.context.requests.hold();
    let proof = Proof::of(shared.context.clone(), Some(admin), (tenant.clone(), None));
    let life = shared.context.backbone.tenancy(&tenant).since;
    // It takes long: its token may end meanwhile, and so may the tenant.
    let may_go_on = || {
        proof.check()?;
        is_open(shared, &tenant)?;
        match shared.context.backbone.tenancy(&tenant).since == life {
            true => Ok(()),
            false => Err(Refusal::new(Code::TenantErased, "the tenant was erased while the file came")),
        }
    };
    tracing::info!(%tenant, "a tenant comes as a file");
    let file = receive(shared, request, payload, may_go_on).await?;
    let _turn = shared.imports.turn.lock().await;
    import::run(&shared.context, &tenant, file, may_go_on).await
}

/// The whole body, in a file that nobody else can open. `may_go_on` is asked whenever some of it has come.
async fn receive(
    shared: &Shared,
    request: &HttpRequest,
    mut payload: Payload,
    may_go_on: impl Fn() -> Result<(), Refusal>,
) -> Result<File, Refusal> {
    let (config, limit) = (&shared.context.config, shared.context.config.limits.import_bytes);
    let too_large =
        || Refusal::new(Code::TooLarge, format!("the file is larger than {limit} bytes (limits.import_bytes)"));
    let told = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > limit) {
        return Err(too_large());
    }
    let dir = config.data_dir.clone();
    let mut file = on_disk(move || tempfile::tempfile_in(dir)).await?;
    let (mut gathered, mut count) = (Vec::new(), 0);
    let (began, patience) = (Instant::now(), config.server.body_timeout);
    loop {
        let (silent, slow) = (Instant::now() + patience, began + patience + Duration::from_secs(count / LEAST_RATE));
        let next = timeout_at(silent.min(slow), payload.next()).await.map_err(|_| {
            let message = format!(
                "the file came too slowly: nothing within `server.body_timeout`, or less than {LEAST_RATE} bytes a \
                 second after that; send it again"
            );
            Refusal::new(Code::TooSlow, message)
        })?;
        may_go_on()?;
        let is_end = next.is_none();
        if let Some(bytes) = next {
            let bytes =
                bytes.map_err(|_| Refusal::new(Code::InvalidExport, "the file could not be read to its end"))?;
            count += bytes.len() as u64;
            if count > limit {
                return Err(too_large());
            }
            gathered.extend_from_slice(&bytes);
        }
        if gathered.len() >= GATHER || is_end {
            let part = std::mem::take(&mut gathered);
            file = on_disk(move || file.write_all(&part).map(|()| file)).await?;
        }
        if is_end {
            return Ok(file);
        }
    }
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Refusal> {
    let done = spawn_blocking(work).await.map_err(|error| import::unkept(&error))?;
    done.map_err(|error| import::unkept(&error))
}
