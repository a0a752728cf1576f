//! A tenant that comes as a file: kept until its end has come, for only the end says whether it is whole.
//!
//! Owns: how much is kept, and for how long. What becomes of it is `actors/import.rs`.

use std::{fs::File, io::Write as _};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::CONTENT_LENGTH,
    rt::task::spawn_blocking,
    web::{Data, Path, Payload},
};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::{
    admin::{governs, is_open},
    asker, parameters, problem,
    proof::Proof,
    server::Shared,
};
use crate::{
    actors::import,
    model::rights::Admin,
    wire::{Code, Refusal},
};

/// What is gathered before it is written.
const GATHER: usize = 256 * 1024;

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
    let Ok(_alone) = shared.imports.try_acquire() else {
        let message = "this node imports another tenant now; try again when that is over";
        return Err(Refusal::new(Code::Busy, message).after(std::time::Duration::from_secs(5)));
    };
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
    let file = receive(shared, request, payload).await?;
    import::run(&shared.context, &tenant, file, may_go_on).await
}

/// The whole body, in a file that nobody else can open.
async fn receive(shared: &Shared, request: &HttpRequest, mut payload: Payload) -> Result<File, Refusal> {
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
    loop {
        let next = timeout(config.server.body_timeout, payload.next()).await;
        let next = next.map_err(|_| {
            Refusal::new(Code::TooSlow, "nothing of the file came within `server.body_timeout`; send it again")
        })?;
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
